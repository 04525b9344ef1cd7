"""The rules by family; models/judge.py calls them one after another."""
