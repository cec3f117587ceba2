#!/usr/bin/env bash
# Runs all tests of the workspace against real servers on this machine: two OCI registries, and Git over HTTP and ssh.
# What it starts listens on loopback, lives in one temporary directory, and ends with it.
# Arguments go to `cargo test`. See tests/README.md.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'tests/run.sh: %s\n' "$*"; }
die() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

work=""
started=()
policy=""

clean_up() {
    local code=$?
    trap - EXIT INT TERM HUP
    local pid
    # Each server leads its own process group, so its workers end with it and nothing else does.
    for pid in "${started[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        local tries=0
        while kill -0 -- "-$pid" 2>/dev/null; do
            if ((++tries > 50)); then
                kill -KILL -- "-$pid" 2>/dev/null || true
                break
            fi
            sleep 0.1
        done
    done
    if [[ -n $policy ]]; then rm -f -- "$policy"; fi
    if [[ -n $work ]]; then rm -rf -- "$work"; fi
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

git_http_backend() {
    local candidate
    for candidate in "$(git --exec-path 2>/dev/null || true)/git-http-backend" /usr/lib/git-core/git-http-backend; do
        if [[ -x $candidate ]]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

install_what_is_missing() {
    local -A package_of=(
        [docker-registry]=docker-registry
        [skopeo]=skopeo
        [nginx]=nginx
        [fcgiwrap]=fcgiwrap
        [git]=git
        [htpasswd]=apache2-utils
        [curl]=curl
        [openssl]=openssl
        [ssh]=openssh-client
        [sshd]=openssh-server
        [gpg]=gpg
        [gpg-agent]=gpg-agent
    )
    local missing=() program
    for program in "${!package_of[@]}"; do
        command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
    done
    ((${#missing[@]})) || return 0

    command -v apt-get >/dev/null || die "these are missing and there is no apt-get to install them: ${missing[*]}"
    ((EUID == 0)) || die "these Debian packages are missing; install them as root, then run again: ${missing[*]}"
    say "installing ${missing[*]}"
    # Packages start their service when they are installed; none is wanted here.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local apt=(timeout 900 apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" update
    DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
    if [[ -n $policy ]]; then
        rm -f -- "$policy"
        policy=""
    fi
}

# A port below the range that the kernel gives out by itself. Another process may still take it before the server
# does; a server that does not come up is therefore tried again on another port.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM << 15 | RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
    done
}

# status URL [curl arguments]: the HTTP status, 000 when nothing answers.
status() {
    local url=$1
    shift
    curl --silent --noproxy '*' --max-time 5 --output /dev/null --write-out '%{http_code}' "$@" "$url" || true
}

# start LOG COMMAND...: runs it in its own process group; the process id is in $pid.
start() {
    local log=$1
    shift
    setsid "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    started+=("$pid")
}

# answers URL STATUS: waits until $pid answers with the status; fails when it has ended or 20 seconds are over.
answers() {
    local url=$1 wanted=$2 tries
    for ((tries = 0; tries < 200; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        [[ $(status "$url") != "$wanted" ]] || return 0
        sleep 0.1
    done
    return 1
}

# serve NAME CONFIGURE STATUS PATH: CONFIGURE gets a port, writes the configuration, and sets $command. The address
# is in $address.
serve() {
    local name=$1 configure=$2 wanted=$3 path=$4 attempt port
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        address=127.0.0.1:$port
        "$configure" "$port"
        start "$work/$name.log" "${command[@]}"
        if answers "http://$address$path" "$wanted"; then
            say "$name listens on $address"
            return 0
        fi
        kill -KILL -- "-$pid" 2>/dev/null || true
        say "$name did not come up on $address (attempt $attempt of 5)"
    done
    tail -n 40 "$work/$name.log" >&2 || true
    die "$name does not start; its log is above"
}

# registry_config NAME PORT [AUTH]
registry_config() {
    local name=$1 port=$2 auth=${3:-}
    mkdir -p "$work/$name"
    cat >"$work/$name.yml" <<EOF
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $work/$name
  delete:
    enabled: true
http:
  addr: 127.0.0.1:$port
  secret: $password
$auth
EOF
    command=(docker-registry serve "$work/$name.yml")
}

open_registry() { registry_config registry "$1"; }

auth_registry() {
    registry_config registry-auth "$1" "auth:
  htpasswd:
    realm: kargo-tests
    path: $work/registry.htpasswd"
}

git_server() {
    local port=$1 user=""
    tls_port=$(free_port)
    # Started as root, nginx would answer as another user, who cannot reach the temporary directory.
    if ((EUID == 0)); then user="user root;"; fi
    # What the server may do is set here and overrides the configuration of each repository.
    cat >"$work/git-location.conf" <<EOF
fastcgi_pass unix:$work/fcgiwrap.sock;
fastcgi_read_timeout 120s;
fastcgi_param SCRIPT_FILENAME $backend;
fastcgi_param GIT_PROJECT_ROOT $work/git;
fastcgi_param GIT_HTTP_EXPORT_ALL 1;
fastcgi_param GIT_CONFIG_NOSYSTEM 1;
fastcgi_param GIT_CONFIG_GLOBAL $work/gitconfig;
fastcgi_param HOME $work/home;
fastcgi_param PATH_INFO \$1;
fastcgi_param GIT_PROTOCOL \$http_git_protocol;
fastcgi_param REQUEST_METHOD \$request_method;
fastcgi_param QUERY_STRING \$query_string;
fastcgi_param CONTENT_TYPE \$content_type;
fastcgi_param CONTENT_LENGTH \$content_length;
fastcgi_param REMOTE_ADDR \$remote_addr;
fastcgi_param REMOTE_USER \$remote_user;
EOF
    cat >"$work/nginx.conf" <<EOF
$user
worker_processes 2;
daemon off;
pid $work/nginx.pid;
error_log $work/nginx-error.log warn;
events { worker_connections 512; }
http {
    access_log off;
    client_max_body_size 0;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    server {
        listen $address;
        location ~ ^/git(/.*)\$ {
            auth_basic "kargo tests";
            auth_basic_user_file $work/git.htpasswd;
            include $work/git-location.conf;
            fastcgi_param GIT_CONFIG_COUNT 1;
            fastcgi_param GIT_CONFIG_KEY_0 http.receivepack;
            fastcgi_param GIT_CONFIG_VALUE_0 true;
        }
        location ~ ^/git-readonly(/.*)\$ {
            include $work/git-location.conf;
            fastcgi_param GIT_CONFIG_COUNT 1;
            fastcgi_param GIT_CONFIG_KEY_0 http.receivepack;
            fastcgi_param GIT_CONFIG_VALUE_0 false;
        }
        # As /git/, but every push comes at a bad time.
        location ~ ^/503(/.*)\$ {
            add_header Retry-After 7 always;
            return 503;
        }
        location / { return 404; }
    }
    server {
        listen 127.0.0.1:$tls_port ssl;
        server_name localhost;
        ssl_certificate $work/tls/server.pem;
        ssl_certificate_key $work/tls/server.key;
        location ~ ^/git(/.*)\$ {
            auth_basic "kargo tests";
            auth_basic_user_file $work/git.htpasswd;
            include $work/git-location.conf;
            fastcgi_param GIT_CONFIG_COUNT 1;
            fastcgi_param GIT_CONFIG_KEY_0 http.receivepack;
            fastcgi_param GIT_CONFIG_VALUE_0 true;
        }
        location / { return 404; }
    }
}
EOF
    command=(nginx -p "$work" -e "$work/nginx-error.log" -c "$work/nginx.conf")
}

# An authority of this run, and a certificate of it for localhost.
make_certificates() {
    local tls=$work/tls
    mkdir -p "$tls"
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -sha256 \
            -subj "/CN=kargo tests" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" \
            -keyout "$tls/ca.key" -out "$tls/ca.pem"
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
            -keyout "$tls/server.key" -out "$tls/server.csr"
        printf '%s\n' "subjectAltName=DNS:localhost" "extendedKeyUsage=serverAuth" \
            "basicConstraints=critical,CA:FALSE" >"$tls/server.ext"
        openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -set_serial 2 -days 2 -sha256 \
            -extfile "$tls/server.ext" -out "$tls/server.pem"
    } >"$work/openssl.log" 2>&1 || die "openssl makes no certificates: $(cat "$work/openssl.log")"
}

# Keys of this run: of the host, of a user who may sign in and of one who may not.
make_ssh_keys() {
    local key
    mkdir -p "$work/ssh"
    for key in host user stranger; do
        ssh-keygen -q -t ed25519 -N "" -C "kargo tests" -f "$work/ssh/$key"
    done
    cp "$work/ssh/user.pub" "$work/ssh/authorized_keys"
}

# One sshd on two ports: on the first it lets the client ask for Git's protocol version 2, on the second, as Debian configures it, not.
ssh_server() {
    local port=$1 old_port=$2
    cat >"$work/ssh/sshd_config" <<EOF
ListenAddress 127.0.0.1:$port
ListenAddress 127.0.0.1:$old_port
PidFile none
HostKey $work/ssh/host
AuthorizedKeysFile $work/ssh/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 200
SetEnv GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$work/gitconfig
Match LocalPort $port
    AcceptEnv GIT_PROTOCOL
EOF
    # Newer servers shut out for a while who signs in with a wrong key, as tests do.
    if "$sshd" -t -o PerSourcePenalties=no -f "$work/ssh/sshd_config" 2>/dev/null; then
        sed -i '1i PerSourcePenalties no' "$work/ssh/sshd_config"
    fi
    command=("$sshd" -D -e -f "$work/ssh/sshd_config")
}

# speaks_ssh PORT: waits until $pid answers there; fails when it has ended or 20 seconds are over.
speaks_ssh() {
    local port=$1 tries greeting
    for ((tries = 0; tries < 200; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
            greeting=""
            read -r -t 5 greeting <&3 || true
            exec 3>&-
            [[ $greeting != SSH-* ]] || return 0
        fi
        sleep 0.1
    done
    return 1
}

serve_ssh() {
    local attempt port old_port name
    # It starts a fresh copy of itself for each connection, and so wants to know where it is.
    sshd=$(command -v sshd)
    name=$(id -un)
    if ((EUID == 0)); then mkdir -p /run/sshd; fi
    make_ssh_keys
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        old_port=$(free_port)
        ssh_server "$port" "$old_port"
        start "$work/sshd.log" "${command[@]}"
        if speaks_ssh "$port" && speaks_ssh "$old_port"; then
            say "git over ssh listens on 127.0.0.1:$port, without protocol version 2 on 127.0.0.1:$old_port"
            export KARGO_TEST_GIT_SSH=ssh://$name@127.0.0.1:$port$work/git
            export KARGO_TEST_GIT_SSH_OLD=ssh://$name@127.0.0.1:$old_port$work/git
            export KARGO_TEST_GIT_SSH_KEYS=$work/ssh
            return 0
        fi
        kill -KILL -- "-$pid" 2>/dev/null || true
        say "sshd did not come up on 127.0.0.1:$port and $old_port (attempt $attempt of 5)"
    done
    tail -n 40 "$work/sshd.log" >&2 || true
    die "sshd does not start; its log is above"
}

command -v cargo >/dev/null || die "cargo is missing; install Rust from https://rustup.rs"
install_what_is_missing
backend=$(git_http_backend) || die "git-http-backend is missing; it comes with the Debian package git"

work=$(mktemp -d "${TMPDIR:-/tmp}/kargo-tests.XXXXXX")
mkdir -p "$work/git" "$work/home"
user=kargo
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
# The registry reads bcrypt only; the lowest cost keeps each request quick. nginx reads apr1 everywhere.
printf '%s\n' "$password" | htpasswd -niB -C 4 "$user" >"$work/registry.htpasswd"
printf '%s\n' "$password" | htpasswd -nim "$user" >"$work/git.htpasswd"
cat >"$work/gitconfig" <<EOF
[safe]
	directory = *
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[receive]
	autogc = false
EOF

serve registry open_registry 200 /v2/
export KARGO_TEST_REGISTRY=$address

serve registry-auth auth_registry 401 /v2/
export KARGO_TEST_REGISTRY_AUTH=$address
export KARGO_TEST_REGISTRY_USER=$user
export KARGO_TEST_REGISTRY_PASSWORD=$password
[[ $(status "http://$address/v2/" --user "$user:$password") == 200 ]] || die "registry-auth refuses its own user"

start "$work/fcgiwrap.log" fcgiwrap -f -c 8 -s "unix:$work/fcgiwrap.sock"
make_certificates
serve git git_server 401 /git/
export KARGO_TEST_GIT_ROOT=$work/git
export KARGO_TEST_GIT_HTTP=http://$address/git
export KARGO_TEST_GIT_HTTP_READONLY=http://$address/git-readonly
export KARGO_TEST_GIT_HTTPS=https://localhost:$tls_port/git
export KARGO_TEST_GIT_CA=$work/tls/ca.pem
export KARGO_TEST_GIT_USER=$user
export KARGO_TEST_GIT_PASSWORD=$password

GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git init --quiet --bare "$work/git/.probe.git"
probe=".probe.git/info/refs?service=git-upload-pack"
for ((tries = 0; tries < 100; tries++)); do
    answer=$(status "$KARGO_TEST_GIT_HTTP_READONLY/$probe")
    if [[ $answer == 200 ]]; then break; fi
    sleep 0.1
done
[[ $answer == 200 ]] || die "git answers $answer instead of a repository: $(cat "$work/nginx-error.log" "$work/fcgiwrap.log")"
rm -rf -- "$work/git/.probe.git"

serve_ssh

# A proxy that the environment names must not stand between the tests and these servers.
if [[ -n ${http_proxy:-}${HTTP_PROXY:-}${https_proxy:-}${HTTPS_PROXY:-}${all_proxy:-}${ALL_PROXY:-} ]]; then
    export NO_PROXY="${NO_PROXY:-${no_proxy:-}},127.0.0.1,localhost"
    export no_proxy=$NO_PROXY
fi

code=0
cargo test --workspace --all-features --no-fail-fast "$@" | tee "$work/cargo.log" || code=$?

# Edits of the YAML files that are inside the crates on this machine. They take some seconds, and only runs of everything have them.
crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
if (($# == 0)) && [[ -d $crates ]]; then
    KARGO_TEST_YAML_CORPUS=$crates cargo test --workspace --all-features --lib -- --ignored corpus |
        tee -a "$work/cargo.log" || code=$?
fi

read -r suites passed failed ignored < <(
    awk '/^test result:/ { suites++; for (i = 1; i < NF; i++) count[$(i + 1)] += ($(i + 1) ~ /^(passed|failed|ignored);$/) ? $i : 0 }
        END { print suites + 0, count["passed;"] + 0, count["failed;"] + 0, count["ignored;"] + 0 }' "$work/cargo.log"
)
say "$passed passed, $failed failed, $ignored ignored in $suites test programs, $SECONDS seconds in all"
if ((code != 0)); then
    say "TESTS FAILED (cargo test ended with $code)"
elif ((passed == 0)); then
    say "no test ran"
else
    say "all tests passed"
fi
exit "$code"
