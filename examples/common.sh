# What the examples share: the commands of this checkout, a folder that is removed in the end, and words.
# A script that reads this file has `top` (the checkout), `tmp`, `python`, and stands in the checkout.
set -euo pipefail
top=$(dirname "$(dirname "$(readlink -f "$0")")")
cd "$top"
python=python3
[ -x .venv/bin/python ] && python=$top/.venv/bin/python
PATH=$top/bin:$PATH
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
XDG_CACHE_HOME=$tmp/cache # the user's own cache stays as it is
export XDG_CACHE_HOME

say() {
    echo
    printf '# %s\n' "$@"
}

# Print a command line, then run it; when a command of a pipeline fails, the example does.
show() {
    printf '$ %s\n' "$1"
    eval "$1" || fail "this command failed: $1"
}

fail() {
    printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}
