# The template of a token in a file, for a profile whose name systemd could take for a path.

add_user tester 1000
start_user_manager tester
install -D -m 644 /src/ca.pem /etc/ssl/idp.pem
as tester mkdir -p -m 700 .config/usher .config/systemd/user .cargo/bin
install -m 755 -o tester /opt/usher/bin/{usher,usherd} /home/tester/.cargo/bin/
install -m 644 -o tester /src/usher-token@.service /home/tester/.config/systemd/user/
own client.secret tester /home/tester/.config/usher/front-door.secret
config=/home/tester/.config/usher/config.toml
{ echo '[profile.front-door]'; sed 's|{ SECRET }|{ file = "front-door.secret" }|' /src/profile; } > "$config"
chown tester: "$config"
chmod 600 "$config"
ctl() { as tester systemctl --user "$@"; }
unit=usher-token@front-door.service
file=/run/user/1000/usher-token/front-door/token
main() { ctl show --property=MainPID --value "$unit"; }
# Until the unit is in that state, with the file there all the time.
becomes() {
    local begun=$SECONDS
    until [[ $(ctl show --property=SubState --value "$unit") == "$1" ]]; do
        [[ -s $file ]] || fail "the file is gone before the unit is $1"
        (( SECONDS - begun < 30 )) || fail "$(ctl status "$unit")"
    done
    [[ -s $file ]] || fail "the file is gone when the unit is $1"
}

step 'it is up when the file is there'
as tester usher service install > /dev/null
ctl enable --now "$unit"
[[ $(cat "$file") == "$(as tester usher token front-door)" ]] || fail 'it has another token'
[[ $(stat --format='%a %U' "$file") == '600 tester' ]] || fail "$(stat "$file")"

step 'the file is there before, while and after it is restarted'
before=$(main)
kill -KILL "$before"
gone "$before"
becomes auto-restart
becomes running
[[ $(main) != "$before" ]] || fail 'it is the same process'
ctl restart "$unit"
[[ -s $file ]] || fail 'the file is gone after a restart'

step 'it goes with the service, and usherd stays'
ctl disable --now "$unit"
[[ ! -e $file ]] || fail 'the file is still there'
[[ $(ctl is-active usherd.service) == active ]] || fail 'usherd is gone'
