# Completion in bash for the commands of a checkout: source ci/completion.bash
#
#   python fuzz/run.py --re<Tab>        python fuzz/run.py tl<Tab>        ... --threads <Tab>
#
# Options are read from --help, once for each command; subjects and their variants from allocator/.
# Everything else is a file name, as it is for any other use of python.
declare -A _allocheck_options

_allocheck() {
    local script=${COMP_WORDS[1]} word=${COMP_WORDS[COMP_CWORD]} root
    local before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    [[ $COMP_CWORD -ge 2 && $script =~ (^|/)(fuzz|proofs|allocator|ci)/[a-z_]+\.py$ && -f $script ]] || return
    root=$(dirname "$(dirname "$script")")
    [[ -f $root/allocator/catalogue.py ]] || return
    if [[ $word == -* ]]; then
        if [[ -z ${_allocheck_options[$script]} ]]; then
            _allocheck_options[$script]=$("$1" "$script" --help 2>/dev/null |
                grep -oE -- '--[a-z][a-z-]+' | sort -u)
        fi
        mapfile -t COMPREPLY < <(compgen -W "${_allocheck_options[$script]}" -- "$word")
    elif [[ $before == --threads ]]; then
        mapfile -t COMPREPLY < <(compgen -W "0 2 3 4 8 16" -- "$word")
    elif [[ $word != */* ]]; then
        local subjects
        subjects=$(cd "$root/allocator" && for each in */subject.toml; do
            echo "${each%/*}"
            for variant in "${each%/*}"/*.toml; do
                [[ $variant == "$each" ]] || echo "${each%/*}+$(basename "$variant" .toml)"
            done
        done)
        mapfile -t COMPREPLY < <(compgen -W "$subjects" -- "$word"; compgen -f -- "$word")
    fi
}

complete -o default -o bashdefault -F _allocheck python python3
