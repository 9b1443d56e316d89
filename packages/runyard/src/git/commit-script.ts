import { BOT_IDENTITY, environmentLines, SAY_AT_THE_END } from "./git-environment.ts";

/**
 * Turns the files of a workspace into a bundle. Arguments: $1 cache, $2 workspace, $3 base commit, $4 branch,
 * $5 results directory, $6 message, $7 `yes` where the agent's own commits may be read (never on the host), `merge` where only
 * what it has left unmerged may, which is then told, $8 and $9 name and address of who the commit is by (empty: Runyard).
 * A file `nested` in the results directory names the nested repositories of a tree that came without them.
 *
 * It works in a repository of its own, so nothing that the agent configured, staged, hid or broke matters:
 * the files are the truth. Of the agent's repository it takes commits only, and only where they descend from
 * the base. Names go through it one to a line, with newlines inside of them written as \\001.
 */
export const COMMIT_SCRIPT = `set -u
umask 077
cache=$1 workspace=$2 base=$3 branch=$4 results=$5 message=$6 history=$7 author_name=$8 author_email=$9
work=$results/.work
store=$work/store/.git
${environmentLines({ ...BOT_IDENTITY })}
[ -z "$author_name" ] || export GIT_AUTHOR_NAME="$author_name" GIT_AUTHOR_EMAIL="$author_email" GIT_COMMITTER_NAME="$author_name" GIT_COMMITTER_EMAIL="$author_email"
export HOME="$work" XDG_CONFIG_HOME="$work" GIT_CONFIG_GLOBAL="$work/.gitconfig"
fail() { echo "$1" >&2; exit 1; }
command -v git >/dev/null || { echo 'git was not found in the sandbox' >&2; exit 127; }

prepare() {  # what the host's checks would refuse, with all the rest, is not added: names that other systems take for .git
interrupted=no
[ ! -e "$work/nested" ] || interrupted=yes
rm -rf "$work" "$results/result.bundle" "$results/result.bundle.draft" "$results/result.bundle.draft.lock" "$results/result.json"
mkdir -p "$work" && cd "$workspace" || fail 'the workspace or the place for its results is missing'
printf '[safe]\\n\\tdirectory = *\\n[core]\\n\\thooksPath = /dev/null\\n\\tprotectHFS = true\\n\\tprotectNTFS = true\\n\\tbigFileThreshold = 32m\\n[gc]\\n\\tauto = 0\\n[maintenance]\\n\\tauto = false\\n[init]\\n\\tdefaultBranch = main\\n' >"$work/.gitconfig"
: >"$work/notes.history"
: >"$work/notes.files"
}

lines() { tr '\\n\\000' '\\001\\n'; }
names() { tr '\\001\\n' '\\n\\000'; }
note() {  # $1 file of notes, $2 code, $3 file of details
  count=$(wc -l <"$3")
  details=$(head -n 10 "$3" | cut -c 1-300 | tr '\\001' ' ' | tr -d '\\000-\\011\\013-\\037\\177' | sed 's/[\\\\"]/\\\\&/g; s/.*/"&"/' | paste -s -d , -)
  printf '{"code":"%s","count":%d,"details":[%s]}\\n' "$2" "$count" "$details" >>"$work/$1"
}
only_cache() { printf '%s/objects\\n' "$cache" >"$store/objects/info/alternates"; }
borrowing() {  # a repository that borrows the objects of the cache
  format=sha1
  [ "\${#base}" = 64 ] && format=sha256
  git init --quiet --template= "--object-format=$format" "$1" && mkdir -p "$1/.git/objects/info" "$1/.git/info" || return 1
  printf '%s/objects\\n' "$cache" >"$1/.git/objects/info/alternates"
  [ ! -f "$cache/shallow" ] || cp "$cache/shallow" "$1/.git/shallow"
  git --git-dir="$1/.git" update-ref refs/heads/base "$base"
}
ours() { git --git-dir="$store" --work-tree="$workspace" "$@"; }
patience=10
patient=
command -v timeout >/dev/null && patient=timeout
theirs() { $patient \${patient:+$patience} git --git-dir="$workspace/.git" --work-tree="$workspace" "$@" 2>/dev/null; }

# A repository inside the workspace would be committed as a bare reference, without its files. Wrapped in a
# directory, its .git is none for a while, and the files around it are files like any other.
each_nested() {
  find . \\( -path ./.git -prune \\) -o \\( \\( -name .git -o -name .runyard-wrapped \\) -prune -exec sh -c "$1" sh {} + \\) 2>/dev/null
}
wrap_nested() {
  : >"$work/nested"
  each_nested 'for it do
    dir=\${it%/*}
    [ "\${it##*/}" = .git ] && mkdir "$dir/.runyard-wrapped" && mv "$it" "$dir/.runyard-wrapped/runyard-nested" && mv "$dir/.runyard-wrapped" "$it" &&
      printf "%s\\\\0" "\${dir#./}"
  done; :' | lines | sort >"$work/nested.found"
  mv "$work/nested.found" "$work/nested"
  # Where the base has a submodule, git insists on a .git being sound: there it is put away whole.
  comm -12 "$work/nested" "$work/submodules.base" | while IFS= read -r line; do
    name=$(printf '%s.' "$line" | tr '\\001' '\\n')
    mv "./\${name%.}/.git" "./\${name%.}/.runyard-wrapped"
  done
}
unwrap_nested() {
  each_nested 'there() { [ -e "$1" ] || [ -h "$1" ]; }
  for it do
    dir=\${it%/*}
    [ "\${it##*/}" = .git ] && there "$it/runyard-nested" && [ ! -e "$it/HEAD" ] && mv "$it" "$dir/.runyard-wrapped"
    there "$dir/.git" || ! there "$dir/.runyard-wrapped/runyard-nested" || mv "$dir/.runyard-wrapped/runyard-nested" "$dir/.git"
    [ ! -d "$dir/.runyard-wrapped" ] || rmdir "$dir/.runyard-wrapped" 2>/dev/null
  done; :'
}

submodules() { ours ls-tree -r -z "$1" | lines | sed -n "s/^160000 commit [0-9a-f]*$(printf '\\t')//p" | sort; }

# Where the repository says how lines end but holds files that end otherwise, adding rewrites files that
# nobody touched. Those that are still what a checkout would make keep the content they have.
keep_untouched() {
  ours ls-files -z -- ':(top,attr:text)' ':(top,attr:eol=crlf)' ':(top,attr:eol=lf)' ':(top,attr:ident)' | lines | sort >"$work/converted"
  [ -s "$work/converted" ] || return 0
  ours diff-index --cached --no-renames -z "$1" | lines | sed -n '/^:\\(100[0-7]*\\) \\1 [0-9a-f]* [0-9a-f]* M$/{n;p;}' | sort | comm -12 - "$work/converted" >"$work/suspects"
  : >"$work/keep"
  while IFS= read -r line; do
    name=$(printf '%s.' "$line" | tr '\\001' '\\n')
    name=\${name%.}
    ours cat-file --filters "$1:$name" | cmp -s - "./$name" && GIT_LITERAL_PATHSPECS=1 ours ls-tree -z "$1" -- "$name" >>"$work/keep"
  done <"$work/suspects"
  ours update-index -z --index-info <"$work/keep"
}

full=
add_once() {  # fails where not even some files could be added, and where the disk was full for some
  said=$(ours add --all --ignore-errors . 2>&1 >/dev/null)
  code=$?
  case $said in *'No space left on device'*|*'Disk quota exceeded'*|*'Out of diskspace'*) full='No space left on device'; return 1 ;; esac
  printf '%s\\n' "$said" >"$work/add.err" && [ $code -le 1 ]
}
add_all() {
  add_once && return
  [ -z "$full" ] || return 1
  # A file is not in the encoding that its attribute claims: then bytes are bytes.
  echo '* !working-tree-encoding' >"$store/info/attributes"
  sed -n 's/^fatal: //p' "$work/add.err" >"$work/encoding"
  note notes.files encoding-ignored "$work/encoding"
  add_once
}

stage() {  # puts all files into a tree, going out from commit $1
  : >"$work/notes.files"
  rm -f "$store/index"
  ours read-tree "$1" || return 1
  # Finds out what has not changed. Adding it would find that out too, but then keep a copy of all of it: where
  # the cache is read-only, git cannot mark an object there as used again.
  ours update-index -q --refresh >/dev/null 2>&1
  submodules "$1" | comm -13 "$work/submodules.base" - | names | ours update-index --force-remove -z --stdin || return 1
  add_all || return 1
  ours ls-files -s -z | lines | sed -n "s/^160000 [0-9a-f]* 0$(printf '\\t')//p" | sort | comm -13 "$work/submodules.base" - >"$work/nested.refused"
  names <"$work/nested.refused" | ours update-index --force-remove -z --stdin || return 1
  [ ! -s "$work/nested.refused" ] || note notes.files nested-repository-left-out "$work/nested.refused"
  if [ "$history" != no ]; then  # what the agent added although it is ignored
    theirs ls-files -z --cached --ignored --exclude-standard >"$work/forced" && ours update-index --add --remove -z --stdin <"$work/forced" 2>/dev/null
  fi
  keep_untouched "$1" || return 1
  sed -n 's/^error: //p' "$work/add.err" | grep -v '^unable to add ' >"$work/refused"
  [ ! -s "$work/refused" ] || note notes.files files-not-added "$work/refused"
  while IFS= read -r line; do
    name=$(printf '%s.' "$line" | tr '\\001' '\\n')
    [ ! -d "./\${name%.}" ] || [ -z "$(find "./\${name%.}" -mindepth 1 -maxdepth 1 ! -name .git ! -name .runyard-wrapped | head -c 1)" ] || printf '%s\\n' "$line"
  done <"$work/submodules.base" >"$work/submodules.filled"
  [ ! -s "$work/submodules.filled" ] || note notes.files submodule-files-left-out "$work/submodules.filled"
  while IFS= read -r line; do
    name=$(printf '%s.' "$line" | tr '\\001' '\\n')
    [ -z "$(GIT_LITERAL_PATHSPECS=1 ours ls-files -z -- "\${name%.}" | head -c 1 | tr '\\000' x)" ] || printf '%s\\n' "$line"
  done <"$work/nested" | comm -23 - "$work/submodules.base" >"$work/nested.added"
  [ ! -s "$work/nested.added" ] || note notes.files nested-repository "$work/nested.added"
  tree=$(ours write-tree)
}

commit_tree() {  # sets head: the tree on top of $1
  if [ "$tree" = "$(ours rev-parse "$1^{tree}")" ]; then head=$1; else head=$(printf '%s' "$message" | ours commit-tree "$tree" -p "$1"); fi
}
is_sound() {  # whether the commits pass the checks that the host will make
  rm -rf "$work/check"
  borrowing "$work/check" && git --git-dir="$work/check/.git" -c fetch.fsckObjects=true fetch --quiet --no-tags --no-write-fetch-head "$store" "+$1:refs/heads/result" 2>/dev/null
}

work() {
prepare
[ $interrupted = no ] || unwrap_nested
trap '[ ! -s "$work/nested" ] || unwrap_nested; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
borrowing "$work/store" || fail 'the commit that the run started from is not in the cache'
submodules "$base" >"$work/submodules.base"
wrap_nested
[ ! -f "$results/nested" ] || lines <"$results/nested" | sort >"$work/nested"

parent=$base
: >"$work/none"
if [ "$history" = yes ]; then
  theirs_head=$(theirs rev-parse --verify --quiet 'HEAD^{commit}') && objects=$(theirs rev-parse --git-path objects)
  found=$?
  [ $found -lt 124 ] || history=no  # it hangs: ask it nothing more
  patience=60
  if [ $found != 0 ]; then
    theirs_head=$base
    note notes.history history-unreadable "$work/none"
  elif [ "$theirs_head" != "$base" ]; then
    case $objects in /*) ;; *) objects=$workspace/$objects ;; esac
    printf '%s\\n' "$objects" >>"$store/objects/info/alternates"
    if ours merge-base --is-ancestor "$base" "$theirs_head" 2>/dev/null; then parent=$theirs_head
    else only_cache; note notes.history history-rewritten "$work/none"; fi
  fi
fi
if [ "$history" = yes ]; then
  theirs for-each-ref "--no-merged=$theirs_head" "--no-merged=$base" '--format=%(refname)' refs/heads refs/stash | sed 's/^refs.heads.//; s/^refs.stash$/stash/' >"$work/left"
  [ ! -s "$work/left" ] || note notes.history commits-left-out "$work/left"
fi

if [ "$parent" = "$base" ] || ! { stage "$parent" && commit_tree "$parent" && is_sound "$head"; } 2>/dev/null; then
  [ -z "$full" ] || fail "$full"
  if [ "$parent" != "$base" ]; then only_cache; note notes.history history-unreadable "$work/none"; fi
  stage "$base" && commit_tree "$base" || fail "the files could not be committed: \${full:-$(sed -n '/^fatal: /{s///;p;q;}' "$work/add.err" 2>/dev/null)}"
fi

unmerged=
if [ "$history" = merge ]; then
  unmerged=$(theirs ls-files --unmerged -z | lines | sed "s/^[^$(printf '\\t')]*$(printf '\\t')//" | sort -u | head -n 1000 | tr -d '\\000-\\011\\013-\\037\\177' | sed 's/[\\\\"]/\\\\&/g; s/.*/"&"/' | paste -s -d , -)
fi

changed=true
if [ "$tree" = "$(ours rev-parse "$base^{tree}")" ]; then
  [ "$head" = "$base" ] || note notes.history commits-without-effect "$work/none"
  changed=false head=$base
else
  ours update-ref "refs/heads/$branch" "$head" &&
    ours bundle create --quiet "$results/result.bundle.draft" "refs/heads/$branch" "^$base" &&
    mv "$results/result.bundle.draft" "$results/result.bundle" || fail 'the result could not be packed'
fi
printf '{"changed":%s,"head":"%s","unmerged":[%s],"notices":[%s]}\\n' "$changed" "$head" "$unmerged" "$(cat "$work/notes.history" "$work/notes.files" | paste -s -d , -)" >"$work/result.json" &&
  mv "$work/result.json" "$results/result.json" || fail 'the result could not be written'
}
${SAY_AT_THE_END}`;
