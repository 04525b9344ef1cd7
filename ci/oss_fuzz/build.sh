#!/bin/bash
# Builds a fuzz target for each of $SUBJECTS into $OUT, from the checkout in $SRC/allocheck.
#
# ALLOCHECK_SITE  packages that are there already, instead of installing them
# BUNDLE_PYTHON   1: take the interpreter along, where the machine that fuzzes has another one
set -euo pipefail
: "${SRC:?}" "${OUT:?}" "${SUBJECTS:=explicit_list}" "${PYTHON:=python3}"
home=$OUT/allocheck
mkdir -p "$home"
cp -r "$SRC/allocheck/"{allocator,models,fuzz} "$home/"
if [ -n "${ALLOCHECK_SITE:-}" ]; then
    ln -sfn "$ALLOCHECK_SITE" "$home/site"
else
    "$PYTHON" -m pip install --quiet --target "$home/site" \
        --group "$SRC/allocheck/pyproject.toml:fuzz"
fi
start=$("$PYTHON" -c 'import sys; print(sys.executable)')
if [ "${BUNDLE_PYTHON:-0}" = 1 ]; then
    base=$("$PYTHON" -c 'import sys; print(sys.base_prefix)')
    version=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    mkdir -p "$home/python/bin" "$home/python/lib"
    cp "$base/bin/$version" "$home/python/bin/python"
    cp -r "$base/lib/$version" "$home/python/lib/"
    cp "$base"/lib/libpython* "$home/python/lib/" 2>/dev/null || true
    start='env PYTHONHOME="$home/python" LD_LIBRARY_PATH="$home/python/lib" "$home/python/bin/python"'
fi
for subject in $SUBJECTS; do
    if [ -e "$subject" ]; then # it goes along, with what lies beside it
        beside=subject-$(basename "${subject%.*}")
        cp -r "$(dirname "$subject")" "$home/$beside"
        subject="\$home/$beside/$(basename "$subject")"
    fi
    name=allocheck_$(basename "${subject%.*}" | tr -c 'A-Za-z0-9_\n' _)
    cat > "$OUT/$name" << TARGET
#!/bin/bash
# LLVMFuzzerTestOneInput: by this word a fuzz target is known.
home=\$(dirname "\$(realpath "\$0")")/allocheck
export ALLOCHECK_CACHE=\${ALLOCHECK_CACHE:-/tmp/allocheck-store} PYTHONPATH=\$home/site
exec $start "\$home/fuzz/target.py" "$subject" "\$@"
TARGET
    chmod +x "$OUT/$name"
    PYTHONPATH=$home:$home/site "$PYTHON" - "$OUT/${name}_seed_corpus.zip" << 'SEEDS'
import sys, tempfile, zipfile
from pathlib import Path
from fuzz.guided import seed_corpus
with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(sys.argv[1], "w") as seeds:
    seed_corpus(Path(folder, "seeds"), 1)
    for path in sorted(Path(folder, "seeds").iterdir()):
        seeds.write(path, path.name)
SEEDS
done
