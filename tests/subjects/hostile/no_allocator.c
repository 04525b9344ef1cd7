/* A matrix library: nothing here allocates. */
double trace_of(const double *matrix, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += matrix[i * n + i];
    return sum;
}

int rank_of(const double *matrix, int n)
{
    return matrix && n ? n : 0;
}
