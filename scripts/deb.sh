# What the scripts that build packages share. Before it is read they set PLACE, where a package has
# what Python needs, and TREE, as they say. Then there are $stage for its files, and $work beside it.
# shellcheck shell=sh disable=SC2034,SC2154 # used and set by them

OUTPUT=${PLTFRMS_DIST:-dist}
KEPT=${PLTFRMS_KEPT-/var/cache/pltfrms/python} # empty: all is made anew, and nothing kept
PIP="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore .venv/bin/python -m pip"

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

[ "$(dpkg --print-architecture)" = amd64 ] || die "written for amd64"
[ -x .venv/bin/python ] || die "first: make setup"
[ "$TREE" = / ] || [ "$(id -u)" -eq 0 ] || die "with another tree this needs root"
if [ -z "${SOURCE_DATE_EPOCH-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
fi
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
stage=$work/stage
mkdir -p "$stage$PLACE"
seen=/mnt
[ "$TREE" != / ] || seen=$stage

# The release's Python, which sees the stage at $seen. The order of its sets is always the same.
release_python() { # argument...
    if [ "$TREE" = / ]; then
        env -i PATH=/usr/bin:/bin PYTHONHASHSEED=0 /usr/bin/python3 "$@"
    else
        unshare --mount sh -euc '
            tree=$1 stage=$2
            shift 2
            mount --bind "$stage" "$tree/mnt"
            mount --rbind /dev "$tree/dev"
            exec chroot "$tree" env -i PATH=/usr/bin:/bin PYTHONHASHSEED=0 /usr/bin/python3 "$@"
        ' sh "$TREE" "$stage" "$@"
    fi
}

python=$(release_python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/pltfrms/__init__.py)+py$python

# What others wrote, compiled. For the same requirements and Python it is the same, so it is kept
# for the next time, by whom may write there: it is most of the work.
install_requirements() { # file, option of pip...
    requirements=$1
    shift
    kept=
    if [ -n "$KEPT" ] && { [ -d "$KEPT" ] || mkdir -p "$KEPT" 2>/dev/null; } && [ -w "$KEPT" ]; then
        key=$({ release_python -VV && cat "$requirements" scripts/deb.sh && echo "$*"; } | sha256sum)
        kept=$KEPT/$python-$(echo "$key" | cut -c 1-16).tar
        exec 9>"$kept.lock" # who builds the same meanwhile waits for it
        flock 9
        find "$KEPT" -maxdepth 1 -name "[0-9].*-*.tar*" -mtime +30 -delete
    fi
    if [ -e "$kept" ]; then
        tar -x -f "$kept" -C "$stage$PLACE"
        touch "$kept"
    else
        $PIP install -qq --target "$stage$PLACE" --no-deps --no-compile --only-binary :all: \
            --python-version "$python" --implementation cp \
            --abi "cp$(echo "$python" | tr -d .)" --abi abi3 --abi none \
            --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
            --platform manylinux2014_x86_64 "$@" --require-hashes -r "$requirements"
        compile "$PLACE"
        if [ "$kept" ]; then
            tar -c -f "$kept.new" -C "$stage$PLACE" .
            mv "$kept.new" "$kept"
        fi
    fi
    [ -z "$kept" ] || exec 9>&-
}

compile() { # directory
    release_python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$seen" -p / \
        "$seen$1"
}

# What only an installer needs, some of it with the place where it was built.
drop_what_installers_need() {
    rm -rf "$stage$PLACE/bin"
    find "$stage$PLACE" \( -name RECORD -o -name INSTALLER -o -name REQUESTED \
        -o -name direct_url.json \) -path '*.dist-info/*' -delete
}

make_package() { # name, control
    mkdir -p "$stage/DEBIAN" "$OUTPUT"
    (cd "$stage" && find usr -type f | LC_ALL=C sort | xargs -d '\n' md5sum) \
        >"$stage/DEBIAN/md5sums"
    # Not of directories, whose size depends on the disk.
    size=$(find "$stage/usr" -type f -printf '%s\n' | awk '{ s += $1 } END { print int(s / 1024) }')
    sed -e "s/@VERSION@/$version/" -e "s/@PYTHON@/$python/" \
        -e "s/@NEXT_PYTHON@/3.$((${python#3.} + 1))/" -e "s/@SIZE@/$size/" \
        "$2" >"$stage/DEBIAN/control"
    chmod -R go-w,a+rX "$stage"
    find "$stage" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
    file=$OUTPUT/$1_${version}_amd64.deb
    dpkg-deb --root-owner-group -Zzstd -z9 --build "$stage" "$work/package.deb" >/dev/null
    mv "$work/package.deb" "$file"
    echo "$file"
}
