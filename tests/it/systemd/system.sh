# The system units: one usherd for those users of the machine who are listed.

add_user alice 1001
add_user bob 1002
install -D -m 644 /src/ca.pem /etc/ssl/idp.pem
install -m 644 /src/usherd.{socket,service} /etc/systemd/system/
# What an administrator writes: root's files, the secret for root alone, and a drop-in that hands it over.
install -D -m 600 /src/client.secret /etc/usher/secrets/frontdoor
mkdir /etc/systemd/system/usherd.service.d
printf '[Service]\nLoadCredential=frontdoor:/etc/usher/secrets/frontdoor\n' \
    > /etc/systemd/system/usherd.service.d/secrets.conf
config=/etc/usher/config.toml
write_config() {
    { printf 'allowed_users = [%s]\n[profile.frontdoor]\n' "$1"; sed 's|{ SECRET }|{ credential = "frontdoor" }|' /src/profile; } \
        > "$config"
}
write_config '"alice", "root"'
systemctl daemon-reload
systemctl enable --quiet --now usherd.socket
export USHER_SOCKET=/run/usher/usher.sock
# As NAME, and at the system's socket.
at_system() { local name=$1; shift; as "$name" env USHER_SOCKET="$USHER_SOCKET" "$@"; }
token() { at_system "$1" usher token frontdoor; }
pid_of_usherd() { systemctl show --property=MainPID --value usherd.service; }

step 'the socket is there before usherd, and nobody can put another in its place'
[[ $(systemctl is-active usherd.service) == inactive ]] || fail 'usherd runs already'
[[ $(stat -c '%U %a' /run/usher) == 'root 755' ]] || fail "the directory: $(stat -c '%U %a' /run/usher)"
fails 1 as bob rm -f /run/usher/usher.sock

step '200 callers at once, before usherd is there, are all answered'
as alice mkdir answers
at_system alice bash -c 'for i in {1..200}; do usher token frontdoor > answers/$i & done; wait'
[[ $(cat /home/alice/answers/* | grep -c .) == 200 ]] || fail 'not everybody was answered'
[[ $(cat /home/alice/answers/* | sort -u | wc -l) == 1 ]] || fail 'they did not get the same token'

step 'usherd is a user of its own, without rights and without files'
[[ $(stat -c %u "/proc/$(pid_of_usherd)") -ge 61184 ]] || fail 'no dynamic user'
grep -q 'CapBnd:.*0000000000000000' "/proc/$(pid_of_usherd)/status" || fail 'it has capabilities'
fails 77 at_system alice usher status

step 'systemd has read the unit as it is meant'
shown=$'\n'$(systemctl show usherd.service)$'\n'
for line in Restart=on-failure WatchdogUSec=30s TimeoutStopUSec=30s LimitCORE=0 UMask=0077 KeyringMode=private \
    NoNewPrivileges=yes MemoryDenyWriteExecute=yes LockPersonality=yes RestrictNamespaces=yes DynamicUser=yes \
    ProtectSystem=strict ProtectHome=yes PrivateDevices=yes; do
    says $'\n'"$line"$'\n' "$shown"
done

step 'who is not listed gets no token, and no byte'
fails 69 token bob
says 'allowed_users' "$told"
cat > /tmp/no-byte.py <<'EOF'
import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
s.connect("/run/usher/usher.sock")
try:
    s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    answer = s.recv(1)
except (BrokenPipeError, ConnectionResetError):
    answer = b""
raise SystemExit(f"it answered {answer}" if answer else 0)
EOF
chmod 644 /tmp/no-byte.py
as bob python3 /tmp/no-byte.py
fails 1 as alice python3 /tmp/no-byte.py
says 'it answered' "$told"

step 'a reload waits for its outcome, and who is listed changes with it'
write_config '"bob", "root"'
systemctl reload usherd
token bob > /dev/null
fails 69 token alice
echo 'oops = 1' >> "$config"
fails 1 systemctl reload usherd
says 'oops' "$(usher status)"
token bob > /dev/null
write_config '1001, "root"'
systemctl reload usherd
token alice > /dev/null

step 'after a crash it is there again'
before=$(pid_of_usherd)
kill -KILL "$before"
gone "$before"
token alice > /dev/null
[[ $(pid_of_usherd) != "$before" ]] || fail 'it is the same process'
# Also without a call.
[[ $(systemctl show --property=NRestarts --value usherd.service) == 1 ]] || fail 'systemd has not restarted it'

step 'stopped, it is started by the next call'
before=$(pid_of_usherd)
systemctl stop usherd.service
gone "$before"
token alice > /dev/null

step 'the socket can be restarted while usherd runs, and after it was removed'
systemctl restart usherd.socket
token alice > /dev/null
rm /run/usher/usher.sock
# usherd notices that and ends; while systemd counts it as running it starts no socket for it.
systemctl stop usherd.service
systemctl reset-failed usherd.service usherd.socket
systemctl restart usherd.socket
token alice > /dev/null

step 'with a store a restart costs no request, and its key is a credential'
(umask 077; od -An -N 32 -tx1 /dev/urandom | tr -d ' \n' > /etc/usher/secrets/usher-store)
echo 'LoadCredential=usher-store:/etc/usher/secrets/usher-store' >> /etc/systemd/system/usherd.service.d/secrets.conf
printf '\n[store]\nkey = { credential = "usher-store" }\n' >> "$config"
systemctl daemon-reload
systemctl restart usherd.service
first=$(token alice)
systemctl restart usherd.service
[[ $(token alice) == "$first" ]] || fail 'it is another token'
told=$(usher status)
says 'tokens kept in /var/lib/' "$told"
[[ $told != *weak* && $told != *DEGRADED* ]] || fail "$told"

step 'who stops it is told when its process has ended'
before=$(pid_of_usherd)
says "usherd (pid $before) has finished" "$(usher stop)"
has_ended "$before"

step 'stopped for good, it is not started in its place by whoever calls, and they are told who can'
systemctl stop usherd.socket usherd.service
fails 69 token alice
says 'systemctl restart usherd.socket' "$told"
fails 69 usher token frontdoor
