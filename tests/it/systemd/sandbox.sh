# What the sandbox of the user unit leaves to usherd and to the programs that print its secrets.

add_user tester 1000
start_user_manager tester
echo '127.0.0.1 localhost' > /etc/hosts
install -D -m 644 /src/ca.pem /etc/ssl/idp.pem
as tester mkdir -p -m 700 .config/usher .config/systemd/user .cargo/bin .local/bin creds
# Where `cargo install` puts them, which is what the unit says.
install -m 755 -o tester /opt/usher/bin/{usher,usherd} /home/tester/.cargo/bin/
install -m 644 -o tester /src/usherd.{socket,service} /home/tester/.config/systemd/user/
own client.secret tester /home/tester/.config/usher/frontdoor.secret
own client.secret tester /home/tester/creds/frontdoor
ctl() { as tester systemctl --user "$@"; }
pid_of_usherd() { ctl show --property=MainPID --value usherd.service; }
drop_in() {
    as tester mkdir -p .config/systemd/user/usherd.service.d
    cat > "/home/tester/.config/systemd/user/usherd.service.d/$1.conf"
    ctl daemon-reload
    # Many restarts within seconds are this script's doing.
    ctl reset-failed usherd.service
}

# A program of the user's that reads the home, and one that is in the system.
printf '#!/bin/bash\nread -r secret < "$HOME/.config/usher/frontdoor.secret" || true\nprintf "%%s" "$secret"\n' \
    > /home/tester/.local/bin/my-secret
# As a just-in-time compiler does.
cat > /home/tester/.local/bin/jit <<'EOF'
#!/usr/bin/python3
import mmap, pathlib
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
print(pathlib.Path("~/.config/usher/frontdoor.secret").expanduser().read_text())
EOF
chmod 755 /home/tester/.local/bin/*
chown tester: /home/tester/.local/bin/*
{
    profile() { printf '[profile.%s]\n' "$1"; sed "s|{ SECRET }|{ $2 }|" /src/profile; }
    profile file 'file = "frontdoor.secret"'
    profile credential 'credential = "frontdoor"'
    profile script 'command = ["/home/tester/.local/bin/my-secret"]'
    profile pass 'command = ["/usr/bin/pass", "show", "frontdoor"]'
    profile jit 'command = ["/home/tester/.local/bin/jit"]'
    printf '[profile.name]\n'
    sed 's|{ SECRET }|{ file = "frontdoor.secret" }|; s|127.0.0.1|localhost|' /src/profile
} > /home/tester/.config/usher/config.toml
chown tester: /home/tester/.config/usher/config.toml
token() { as tester /home/tester/.cargo/bin/usher token "$1" > /dev/null; }

step 'without a socket unit, the service is started by the user'"'"'s systemd'
rm /home/tester/.config/systemd/user/usherd.socket
ctl daemon-reload
token file
[[ $(pid_of_usherd) != 0 ]] || fail 'usherd runs without systemd'
ctl stop usherd.service
install -m 644 -o tester /src/usherd.socket /home/tester/.config/systemd/user/

step 'with both units there and nothing running, systemd is asked, also by a cron job, which has no runtime directory'
ctl daemon-reload
as tester env -u XDG_RUNTIME_DIR /home/tester/.cargo/bin/usher token file > /dev/null
[[ $(pid_of_usherd) != 0 ]] || fail 'usherd runs without systemd'
[[ $(ctl is-active usherd.socket) == active ]] || fail 'the socket is not systemd'"'"'s'

step 'secrets: a file, a program of the user'"'"'s that reads the home, and the IdP by its name'
token script
token name

step 'a secret that systemd hands over'
fails 78 token credential
says 'LoadCredential=frontdoor' "$told"
drop_in secrets <<< $'[Service]\nLoadCredential=frontdoor:%h/creds/frontdoor'
ctl restart usherd.service
token credential

if [[ -x /usr/bin/pass && -x /usr/bin/gpg ]]; then
    step 'a secret of pass, which calls gpg, which starts its agent'
    as tester mkdir -m 700 .gnupg
    as tester gpg --batch --quiet --passphrase '' --quick-generate-key tester@example.com
    as tester pass init tester@example.com > /dev/null
    as tester pass insert --multiline frontdoor < /src/client.secret > /dev/null
    # The first to need the agent is the program in the sandbox.
    as tester gpgconf --kill gpg-agent
    token pass
else
    echo 'SKIPPED: pass is not installed'
fi

step 'a program that writes what it executes is refused, until that is given back'
fails 78 token jit
drop_in jit <<< $'[Service]\nMemoryDenyWriteExecute=no'
ctl restart usherd.service
token jit
rm /home/tester/.config/systemd/user/usherd.service.d/jit.conf

step 'the strict drop-in leaves files and credentials'
drop_in strict < /src/strict.conf
ctl restart usherd.service
token file
token credential
rm /home/tester/.config/systemd/user/usherd.service.d/strict.conf

step 'in a user name space usherd trusts no file, and says so'
drop_in users <<< $'[Service]\nPrivateUsers=yes'
fails 1 ctl restart usherd.service
said=$(journalctl --no-pager -o cat _UID=1000)
says 'belongs to uid 65534' "$said"
rm /home/tester/.config/systemd/user/usherd.service.d/users.conf

step 'a broken configuration is told to whoever calls, and nobody waits for an usherd that cannot start'
ctl daemon-reload
ctl stop usherd.service usherd.socket
echo 'oops = 1' >> /home/tester/.config/usher/config.toml
for _ in 1 2; do
    fails 78 token file
    says 'ends with exit code 78' "$told"
    says 'oops' "$told"
done
[[ $(ctl show --property=NRestarts --value usherd.service) == 0 ]] || fail 'it was tried again by itself'
! pgrep --exact usherd || fail 'usherd runs without systemd'

step 'once it is mended the next call has systemd start it, with the credentials'
ctl stop usherd.service usherd.socket
fails 78 token credential
sed -i '/^oops/d' /home/tester/.config/usher/config.toml
token credential
[[ $(pgrep --exact usherd) == "$(pid_of_usherd)" ]] || fail 'usherd runs without systemd'

step 'a program that is missing is told as that, and soon'
ctl stop usherd.service usherd.socket
mv /home/tester/.cargo/bin/usherd{,.away}
fails 69 as tester timeout 3 /home/tester/.cargo/bin/usher token file
says '203/EXEC' "$told"
