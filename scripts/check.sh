#!/usr/bin/env bash
# Checks the sources without running them: format, who includes whom, shell scripts, clang-tidy.
# (-Wthread-safety is checked by whoever builds with clang: scripts/test.sh --asan does.)
set -euo pipefail
source "$(dirname "$0")/common.sh"

usage() {
  cat <<'USAGE'
usage: scripts/check.sh [OPTION]...
  --all      clang-tidy over every source; without it, those changed since TANDEM_CHECK_BASE
             (default: the last commit, or the one before it if nothing is uncommitted)
  --no-tidy  leave out clang-tidy
  --fix      format the sources instead of complaining
USAGE
}

# FOLDER:FOLDERS IT MAY INCLUDE FROM (itself included). Wings come before the folder they are in.
what_is_replicated="meta/base meta/change meta/source"
below_the_store="replica/accounts replica/apply replica/known replica/transport replica replica/wire $what_is_replicated"
meta="$what_is_replicated meta/state meta/capture"
below_tools="$meta replica/wire replica replica/transport replica/source replica/apply
  replica/accounts replica/known replica/store fs/serving fs/objects fs/caller fs fs/ops fs/mount"
below_tools=${below_tools//$'\n'/}
may_include=(
  "meta/base:meta/base"
  "meta/change:meta/change meta/base"
  "meta/filter:meta/filter meta/base"
  "meta/source:meta/source meta/change meta/base"
  "meta/state:meta/state meta/source meta/change meta/base"
  "meta/capture:meta/capture meta/state meta/source meta/change meta/base"
  "fs/serving:fs/serving meta/base"
  "fs/objects:fs/objects fs/serving $meta"
  "fs/caller:fs/caller fs/objects fs/serving meta/base"
  "fs/ops:fs/ops fs fs/caller fs/objects fs/serving $meta"
  "fs/mount:fs/mount fs fs/caller fs/objects fs/serving $meta"
  "fs:fs fs/caller fs/objects fs/serving $meta"
  "replica/wire:replica/wire $what_is_replicated"
  "replica/transport:replica/transport replica/wire meta/base"
  "replica/source:replica/source replica/transport replica replica/wire $meta"
  "replica/apply:replica/apply replica/wire $what_is_replicated"
  "replica/known:replica/known replica replica/wire meta/base"
  "replica/accounts:replica/accounts replica/transport replica/wire meta/base"
  "replica/store:replica/store $below_the_store"
  "replica:replica replica/wire meta/base"
  "tools/config:tools/config tools $below_tools"
  "tools/status:tools/status tools $below_tools"
  "tools/metrics:tools/metrics tools/status tools $below_tools"
  "tools/web:tools/web tools $below_tools"
  "tools:tools tools/config tools/status tools/metrics tools/web $below_tools"
  "tests:tests meta/filter tools tools/config tools/status tools/metrics tools/web $below_tools"
)

# HEADER:FILES THAT MAY INCLUDE IT, both extended regular expressions. One wrapper for each library.
wrappers=(
  'spdlog/.*|fmt/.*:meta/base/log\.(h|cc)'
  'sqlite3\.h:meta/base/database\.(h|cc)'
  'librsync\.h:replica/delta\.(h|cc)'
  'openssl/.*:(replica/(hash|transport/(tls|certificates)[a-z_]*)|tests/(programs/lib/hostile_link|bench/transport))\.(h|cc)'
  'httplib\.h:tools/(web/page_server|metrics/metrics_server)\.cc'
  'prometheus/.*:tools/metrics/metrics\.cc'
  'systemd/.*:tools/service_manager\.cc'
  'toml\+\+/.*:tools/config/config_file\.cc'
  'seccomp\.h:tools/system_call_filter\.cc'
  'cap-ng\.h:tools/least_privilege\.cc'
  'nng/.*:replica/transport/[a-z_]+\.(h|cc)'
  'fuse[a-z_0-9]*\.h|fuse3/.*:fs/([a-z]+/)?[a-z0-9_]+\.(h|cc)'
)

all=no
tidy=yes
fix=no
for argument in "$@"; do
  case $argument in
    --all) all=yes ;;
    --no-tidy) tidy=no ;;
    --fix) fix=yes ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown option $argument" ;;
  esac
done

cd "$root"
log_to "$root/build/check.log"
failed=()

# listed PATTERN...: files git tracks, or would (not ignored), that are there.
listed() {
  git ls-files --cached --others --exclude-standard --deduplicate -- "$@" |
    while read -r file; do [[ ! -f $file ]] || printf '%s\n' "$file"; done
}

# check NAME FUNCTION: runs it, says how it went, remembers a failure.
check() {
  local start=$SECONDS
  if "$2"; then
    printf '%s: ok (%d s)\n' "$1" "$((SECONDS - start))"
  else
    printf '%s: FAILED (%d s)\n' "$1" "$((SECONDS - start))"
    failed+=("$1")
  fi
}

mapfile -t sources < <(listed '*.h' '*.cc')

check_format() {
  local mode=(--dry-run -Werror)
  ((${#sources[@]})) || return 0
  [[ $fix == no ]] || mode=(-i)
  local complaints
  complaints=$(printf '%s\n' "${sources[@]}" | xargs clang-format "${mode[@]}" 2>&1) && return
  # One line a file: --fix mends them without anybody reading each complaint.
  grep ': error:' <<<"$complaints" | awk -F: '{ n[$1]++; if (n[$1] == 1) first[$1] = $2 }
    END { for (file in n) printf "%s:%d: not formatted\n", file, first[file] }' | sort
  echo "scripts/check.sh --fix formats them"
  return 1
}

# project_folder FILE: the longest folder in may_include that FILE stands below.
project_folder() {
  local rule
  for rule in "${may_include[@]}"; do
    if [[ $1 == "${rule%%:*}"/* ]]; then
      printf '%s' "${rule%%:*}"
      return
    fi
  done
}

allowed_from() {
  local rule
  for rule in "${may_include[@]}"; do
    [[ ${rule%%:*} != "$1" ]] || printf ' %s ' "${rule#*:}"
  done
}

check_includes() {
  local file line included from to rule status=0
  while IFS=: read -r file line included; do
    included=${included#*\"}
    included=${included%%\"*}
    from=$(project_folder "$file")
    to=$(project_folder "$included")
    if [[ ! $to ]]; then
      echo "$file:$line: \"$included\": include project headers by their path from the root"
      status=1
    elif [[ $(allowed_from "$from") != *" $to "* ]]; then
      echo "$file:$line: $from must not include from $to ($included)"
      status=1
    fi
  done < <(grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "${sources[@]}" /dev/null)
  for rule in "${wrappers[@]}"; do
    while IFS=: read -r file line included; do
      echo "$file:$line: ${included#*include }: only ${rule#*:} may include it"
      status=1
    done < <(grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<(${rule%%:*})>" \
      "${sources[@]}" /dev/null | grep -vE "^(${rule#*:}):")
  done
  return "$status"
}

check_scripts() {
  local scripts
  mapfile -t scripts < <(listed 'scripts/*.sh' 'tests/*.sh' '.ci/run' \
    'scripts/package/debian/*/p*' 'scripts/package/systemd/*-generator' 'scripts/package/files/mount.*')
  shellcheck -x -P scripts "${scripts[@]}"
}

# changed_since BASE: sources in which more has changed than includes and comments (what a move
# changes), and new ones.
changed_since() {
  git diff -M -U0 "$1" -- '*.h' '*.cc' | awk '
    /^\+\+\+ / { file = $2 ~ /^b\// ? substr($2, 3) : ""; next }
    /^--- / || !/^[+-]/ || /^.[ \t]*(#[ \t]*include|\/\/|$)/ { next }
    file != "" { print file }' | sort -u
  git ls-files -o --exclude-standard -- '*.h' '*.cc'
}

# changed_sources: what clang-tidy looks at without --all. A changed header is seen through its own
# .cc, or through the first source that includes it.
changed_sources() {
  local base=${TANDEM_CHECK_BASE:-} file users
  if [[ ! $base ]]; then
    base=HEAD
    [[ $(git status --porcelain) ]] || base=HEAD~1
  fi
  if ! git rev-parse -q --verify "$base^{commit}" >/dev/null; then
    listed '*.cc'
    return
  fi
  changed_since "$base" |
    while read -r file; do
      if [[ $file == *.h && -f $file ]]; then
        users=$(listed "${file%.h}.cc")
        [[ $users ]] || users=$(listed '*.cc' | xargs grep -lF "\"$file\"" | head -n 1) || true
        file=$users
      fi
      [[ ! -f $file ]] || printf '%s\n' "$file"
    done | sort -u
}

check_tidy() {
  local files dir=$root/build-tidy
  "$root/scripts/setup.sh" --deps-only || return
  # Generated headers, and the commands that tell clang-tidy how each file is compiled.
  must "Preparing clang-tidy" "$root/scripts/build.sh" --tidy -- tandem_generated
  if [[ $all == yes ]]; then
    mapfile -t files < <(listed '*.cc')
  else
    mapfile -t files < <(changed_sources)
  fi
  # Those of tests/fuzz are compiled in builds with clang only: here no command is known for them.
  mapfile -t files < <(printf '%s\n' "${files[@]}" | grep -v '^tests/fuzz/')
  ((${#files[@]})) || return 0
  echo "clang-tidy: ${#files[@]} sources"
  # The log has all of it; a header's complaint, seen from each file that includes it, is said once.
  local findings=$root/build/clang-tidy.log
  printf '%s\n' "${files[@]}" |
    xargs -n 1 -P "$jobs" clang-tidy --quiet -p "$dir" >"$findings" 2>>"$log" && return
  grep -E ': (error|warning): ' "$findings" | sed "s#^$root/##" | sort -u
  echo "With the lines in question: $findings"
  return 1
}

for tool in git clang-format clang-tidy; do
  command -v "$tool" >/dev/null || die "$tool is missing: scripts/setup.sh --with-checks installs it"
done
check "format" check_format
check "includes" check_includes
if command -v shellcheck >/dev/null; then
  check "scripts" check_scripts
fi
if [[ $tidy == yes ]]; then
  check "clang-tidy" check_tidy
fi
if ((${#failed[@]})); then
  die "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
fi
