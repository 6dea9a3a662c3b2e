# The user units, from their installation to the watchdog.

add_user tester 1000
start_user_manager tester
install -D -m 644 /src/ca.pem /etc/ssl/idp.pem
as tester mkdir -p -m 700 .config/usher .config/systemd/user/usherd.service.d
own client.secret tester /home/tester/.config/usher/frontdoor.secret
config=/home/tester/.config/usher/config.toml
write_config() {
    { echo '[profile.frontdoor]'; sed 's|{ SECRET }|{ file = "frontdoor.secret" }|' /src/profile; } > "$config"
    chown tester: "$config"
    chmod 600 "$config"
}
write_config
ctl() { as tester systemctl --user "$@"; }
pid_of_usherd() { ctl show --property=MainPID --value usherd.service; }
token() { as tester usher token frontdoor > /dev/null; }

step 'a unit that somebody else wrote is left as it is'
mine=/home/tester/.config/systemd/user/usherd.socket
as tester tee "$mine" > /dev/null <<< '# mine'
fails 78 as tester usher service install
says "$mine was not written by" "$told"
[[ $(cat "$mine") == '# mine' && ! -e ${mine/socket/service} ]] || fail 'something was changed'
rm "$mine"

step 'an usherd that usher has started makes way'
token
[[ $(ctl is-active usherd.service) == inactive ]] || fail 'it is systemd'"'"'s'
by_hand=$(as tester cat /run/user/1000/usher/usher.sock.lock)
says "stopped the usherd (pid $by_hand)" "$(as tester usher service install)"
has_ended "$by_hand"
as tester usher service uninstall > /dev/null

step 'the units are installed, again without a change, and nothing runs yet'
says 'usherd.socket: not installed' "$(as tester usher service status)"
told=$(as tester usher service install)
says 'wrote /home/tester/.config/systemd/user/usherd.service' "$told"
says 'linger is off' "$told"
told=$(as tester usher service install)
says 'up to date: /home/tester/.config/systemd/user/usherd.socket' "$told"
says '"installed":true,"enabled":true,"active":true' "$(as tester usher service status --json)"
[[ $(pid_of_usherd) == 0 ]] || fail 'usherd runs already'
# As `loginctl enable-linger` does.
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/tester
says 'linger is on' "$(as tester usher service status)"

step '200 callers at once, before usherd is there, all get the token'
as tester mkdir answers
as tester bash -c 'for i in {1..200}; do usher token frontdoor > answers/$i & done; wait'
[[ $(cat /home/tester/answers/* | grep -c .) == 200 ]] || fail 'not everybody was answered'
[[ $(cat /home/tester/answers/* | sort -u | wc -l) == 1 ]] || fail 'they did not get the same token'
says ", pid $(pid_of_usherd)" "$(as tester usher service status)"

step 'usherd is in the sandbox'
grep -q 'NoNewPrivs:.*1' "/proc/$(pid_of_usherd)/status" || fail 'no NoNewPrivileges'
grep -q 'Seccomp:.*2' "/proc/$(pid_of_usherd)/status" || fail 'no filter of system calls'

shown=$'\n'$(ctl show usherd.service)$'\n'
for line in Restart=on-failure WatchdogUSec=30s TimeoutStopUSec=30s LimitCORE=0 UMask=0077 KeyringMode=private \
    MemoryDenyWriteExecute=yes LockPersonality=yes RestrictNamespaces=yes; do
    says $'\n'"$line"$'\n' "$shown"
done

step 'after a crash it is there again'
before=$(pid_of_usherd)
kill -KILL "$before"
gone "$before"
token
[[ $(pid_of_usherd) != "$before" ]] || fail 'it is the same process'
# Also without a call.
[[ $(ctl show --property=NRestarts --value usherd.service) == 1 ]] || fail 'systemd has not restarted it'

step 'a reload waits for its outcome, and fails with a broken configuration'
ctl reload usherd
echo 'oops = 1' >> "$config"
fails 1 ctl reload usherd
says 'oops' "$(as tester usher status)"
token
write_config
ctl reload usherd
[[ $(as tester usher status) != *oops* ]] || fail 'the error stays'

step 'stopped, it is started by the next call'
before=$(pid_of_usherd)
as tester usher stop
has_ended "$before"
[[ $(ctl is-active usherd.service) == inactive ]] || fail 'it is not stopped'
token
for _ in {1..8}; do
    as tester usher stop > /dev/null
    token
done
[[ $(ctl is-active usherd.service) == active ]] || fail 'systemd has had enough of it'

step 'where the socket was removed, a call has systemd make another, whether usherd runs or not'
socket=/run/user/1000/usher/usher.sock
before=$(pid_of_usherd)
rm "$socket"
token
[[ $(pid_of_usherd) != "$before" && ! -e /proc/$before ]] || fail 'it is the same process'
as tester usher stop > /dev/null
rm "$socket"
token
[[ $(pgrep --exact usherd) == "$(pid_of_usherd)" ]] || fail "processes: $(pgrep --exact --list-full usherd)"

step 'the socket can be restarted while usherd runs'
ctl restart usherd.socket
token
[[ $(ctl is-active usherd.socket) == active ]] || fail 'the socket is not systemd'"'"'s'

step 'the socket alone is stopped, and usherd ends with it'
before=$(pid_of_usherd)
ctl stop usherd.socket
gone "$before"
[[ ! -e $socket ]] || fail 'the socket is still there'
token
[[ $(ctl is-active usherd.socket) == active ]] || fail 'the socket is not systemd'"'"'s'

step 'a service that runs without the socket unit makes way, too'
ctl stop usherd.socket usherd.service
rm /home/tester/.config/systemd/user/usherd.socket
ctl daemon-reload
token
[[ $(ctl is-active usherd.service) == active ]] || fail 'it is not systemd'"'"'s'
says 'stopped usherd.service' "$(as tester usher service install)"
token

step 'what changed since the start counts after another installation, and else nothing is restarted'
before=$(pid_of_usherd)
as tester usher service install > /dev/null
[[ $(pid_of_usherd) == "$before" ]] || fail 'it was restarted for nothing'
sed -i 's/^WatchdogSec=.*/WatchdogSec=99s/' /home/tester/.config/systemd/user/usherd.service
says 'whose unit has changed' "$(as tester usher service install)"
[[ $(pid_of_usherd) != "$before" ]] || fail 'it is the same process'
[[ $(ctl show --property=WatchdogUSec --value usherd.service) == 30s ]] || fail 'the unit is not as it was'
as tester mkdir bin
install -m 755 -o tester /opt/usher/bin/{usher,usherd} /home/tester/bin/
as tester bin/usher service install > /dev/null
before=$(pid_of_usherd)
install -m 755 -o tester /opt/usher/bin/usherd /home/tester/bin/
says 'whose program has changed' "$(as tester bin/usher service install)"
[[ $(pid_of_usherd) != "$before" ]] || fail 'it is the same process'
as tester usher service install > /dev/null

step 'where the socket was removed, an installation makes it anew'
rm "$socket"
says "opened $socket anew" "$(as tester usher service install)"
[[ -S $socket ]] || fail 'there is no socket'

step 'root with the environment of a user leaves the home alone'
fails 78 env HOME=/home/tester XDG_RUNTIME_DIR=/run/user/1000 usher service install
says 'belongs to uid 1000' "$told"
says 'reads' "$(as tester env XDG_CONFIG_HOME=/home/tester/elsewhere usher service install 2>&1 || true)"
[[ -z $(find /home/tester/elsewhere -type f) ]] || fail 'files are left where systemd does not look'

step 'units that were removed by hand are told as gone, and what is left of them is taken back'
mv /home/tester/.config/systemd/user/usherd.{socket,service} /home/tester/
says 'which is gone' "$(as tester usher service status)"
says 'whose file is gone' "$(as tester usher service uninstall)"
[[ -z $(find /home/tester/.config/systemd/user -type l) && ! -e $socket ]] || fail 'something is left'
as tester usher service install > /dev/null

step 'an usherd that hangs is killed and replaced'
ctl start usherd.service
[[ $(ctl show --property=WatchdogUSec --value usherd.service) == 30s ]] || fail 'the unit has no watchdog'
printf '[Service]\nWatchdogSec=2s\n' > /home/tester/.config/systemd/user/usherd.service.d/watchdog.conf
ctl daemon-reload
ctl restart usherd.service
before=$(pid_of_usherd)
# Two periods: that it answers is heard.
! timeout 4 tail --pid="$before" -f /dev/null || fail 'it was killed although it answers'
kill -STOP "$before"
gone "$before"
token
[[ $(pid_of_usherd) != "$before" ]] || fail 'it is the same process'

step 'what was installed is taken back, and no more'
told=$(as tester usher service uninstall)
says 'removed /home/tester/.config/systemd/user/usherd.socket' "$told"
says 'left your drop-ins' "$told"
left=$(cd /home/tester/.config/systemd/user && find . -type f -o -type l)
[[ $left == ./usherd.service.d/watchdog.conf ]] || fail "left: $left"
[[ ! -e /run/user/1000/usher/usher.sock ]] || fail 'the socket is still there'
says 'not installed' "$(as tester usher service status)"
