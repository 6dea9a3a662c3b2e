# What every script in a booted machine can use. Bash, with -eu.

export PATH=/opt/usher/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Says what is tested from here on: the last one that was said is where it failed.
step() { printf '\n--- %s\n' "$*"; }

fail() {
    printf 'FAILED: %s\n' "$*"
    exit 1
}
trap '[[ $? == 0 ]] || echo "the script ended in line $LINENO: $BASH_COMMAND"' EXIT

# fails CODE COMMAND...: it has to fail that way. What it said is in $told.
fails() {
    local code=0 expected=$1
    shift
    told=$("$@" 2>&1) || code=$?
    [[ $code == "$expected" ]] || fail "exit code $code, not $expected: $* said: $told"
}

# says WORDS TEXT: the text has them.
says() { [[ $2 == *"$1"* ]] || fail "\"$1\" is not in: $2"; }

# Waits until a process has ended.
gone() { timeout 30 tail --pid="$1" -f /dev/null || fail "process $1 does not end"; }

# has_ended PID: there is no such process, or systemd has only not asked yet how it ended.
has_ended() { ! grep -qs $'^State:\t[^XZ]' "/proc/$1/status" || fail "process $1 still runs"; }

# A user with a home and a runtime directory, as a login would leave them.
add_user() {
    useradd --create-home --user-group --uid "$2" "$1"
    install -d -m 700 -o "$1" -g "$1" "/run/user/$2"
}

# as NAME COMMAND...: with nothing of our environment but where things are.
as() {
    local name=$1 uid
    uid=$(id -u "$name")
    shift
    setpriv --reuid="$uid" --regid="$uid" --init-groups env -i -C "/home/$name" HOME="/home/$name" USER="$name" \
        PATH="$PATH" XDG_RUNTIME_DIR="/run/user/$uid" "$@"
}

# The user's systemd, which a login would start.
start_user_manager() {
    local uid
    uid=$(id -u "$1")
    cat > "/etc/systemd/system/manager-of-$1.service" <<EOF
[Service]
User=$1
Environment=XDG_RUNTIME_DIR=/run/user/$uid HOME=/home/$1
ExecStart=/usr/lib/systemd/systemd --user
Type=notify
Delegate=yes
EOF
    systemctl daemon-reload
    systemctl start "manager-of-$1"
}

# own FILE NAME PATH: a private copy of a file of the test's, in a user's home.
own() { install -D -m 600 -o "$2" -g "$2" "/src/$1" "$3"; }
