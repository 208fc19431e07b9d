# Sourced by run: the page to chat in, with Converse.js of npm.
#
# npm is asked once.  What it brought is kept in build/web, and its dist/ in
# the folder that is served; both are known by the version, and what comes
# from npm by its digest, too.  Without it all else is served.

: "${NPM:=npm}"
: "${CONVERSE_DIR:=$top/build/web}"

converse_version=14.0.0
converse_sha512=LFUg030jDalV47vI/vyVPqYPZfJYXFbubq8v0cFDe2zXNeeGEk3Up0Fj\
/WTzT6t+6do+cAIToy73eAj7RNDj2Q==

converse=converse.js-$converse_version.tgz


# another free port where HTTP_PORT is taken: others like 8080, too

find_http_port() {
    local owner=XMPP taken= last=$(( HTTP_PORT + 100 ))

    (( last < 65535 )) || last=65535

    for (( http_port = HTTP_PORT; http_port <= last; http_port++ )); do
        if [ "$http_port" != "$PORT" ] && [ "$http_port" != "$TLS_PORT" ] \
           && ! owner=$(port_owner "$http_port")
        then
            [ -z "$taken" ] || say "Port $HTTP_PORT is in use by $taken:" \
                "the page to chat in is at $http_port."
            return
        fi

        : "${taken:=$owner}"
    done

    die "Port $HTTP_PORT is in use by $taken, and so are the next ones." \
        "make run HTTP_PORT=15280"
}


has_http() {
    ! nginx_arguments "$NGINX_BIN" | grep -qx -- --without-http
}


# no_converse REASON...: what is missing is told, and that all else is there

no_converse() {
    say
    say "There is no web client at http://localhost:$http_port/: $1"
    shift
    [ $# = 0 ] || printf '    %s\n' "$@"
    say "All else is served. It is tried again at the next start, or, on" \
        "another machine,"
    say "    npm pack converse.js@$converse_version"
    say "makes a file that belongs into $CONVERSE_DIR."
}


is_converse() {
    [ -f "$1" ] && [ "$(openssl dgst -sha512 -binary "$1" | base64 -w 0)" \
                     = "$converse_sha512" ]
}


# Root installs npm where there is none; that it cannot is no reason to stop.

need_npm() {
    if [ "$NPM" != npm ] || command -v npm > /dev/null || [ "$(id -u)" != 0 ] \
       || is_converse "$CONVERSE_DIR/$converse"
    then
        return 0
    fi

    ( need_packages npm ) || true
}


# npm pack fetches the package as it is, and runs nothing of it.

fetch_converse() {
    local tmp

    ! is_converse "$CONVERSE_DIR/$converse" || return 0

    if ! command -v "$NPM" > /dev/null; then
        no_converse "$NPM is not installed." \
            "On Debian, sudo make run installs npm."
        return 1
    fi

    say "fetching Converse.js $converse_version by npm"

    tmp=$(mktemp -d) || return 1

    if (cd "$tmp" && npm_config_cache=$tmp/npm npm_config_fetch_retries=1 \
            npm_config_update_notifier=false timeout 100 \
            "$NPM" pack --ignore-scripts "converse.js@$converse_version") \
       > "$tmp/log" 2>&1 9>&- < /dev/null
    then
        if is_converse "$tmp/$converse"; then
            mkdir -p "$CONVERSE_DIR" \
                && mv "$tmp/$converse" "$CONVERSE_DIR/" \
                && rm -rf "$tmp" && return 0
        fi

        no_converse "what npm brought is not Converse.js $converse_version."

    else
        no_converse "npm could not fetch it." \
            "$(grep -iE 'err' "$tmp/log" | head -n 2)"
    fi

    rm -rf "$tmp"
    return 1
}


# What is served.  with_converse: whether the client is there.

make_page() {
    local user there jids=

    mkdir -p "$dir/www" && cp "$top"/.make/web/* "$dir/www/" \
        || die "Cannot write to $dir/www."

    for user in "${accounts[@]}"; do
        jids+="${jids:+, }\"$user@$domain\""
    done

    echo "const settings = { domain: \"$domain\", accounts: [$jids] };" \
        > "$dir/www/settings.js"

    with_converse=1
    there=$(cat "$dir/www/converse/version" 2>/dev/null)

    [ "$there" != "$converse_version" ] || return 0

    rm -rf "$dir/www/converse" "$dir/www/new"

    if fetch_converse && mkdir "$dir/www/new" \
       && tar -xzf "$CONVERSE_DIR/$converse" -C "$dir/www/new" \
              --no-same-owner --no-same-permissions --strip-components=2 \
              --exclude='*.map' package/dist \
       && echo "$converse_version" > "$dir/www/new/version"
    then
        mv "$dir/www/new" "$dir/www/converse"
    else
        with_converse=
    fi
}


# http{} of nginx.conf.  Under any name but those of this machine it has no
# page: such a name is that of a page of somebody else, who has it point here.

http_conf() {
    local path v6= v6_default= temp=
    local csp="default-src 'none'; base-uri 'none'; form-action 'none'; \
frame-ancestors 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
img-src 'self' data: blob:; font-src 'self' data:; media-src 'self'; \
connect-src 'self' ws://localhost:$http_port ws://127.0.0.1:$http_port"

    if grep -qs . /proc/net/if_inet6; then
        v6="listen [::1]:$http_port;"
        v6_default="listen [::1]:$http_port default_server;"
    fi

    # folders of the nginx that is installed are not for this one

    for path in $(nginx_arguments "$NGINX_BIN" \
                  | sed -n 's/^--http-\([a-z-]*-temp-path\)=.*/\1/p')
    do
        nginx_arguments "$NGINX_BIN" \
            | grep -qx -- "--without-http_${path%%-*}_module" \
            || temp+="    ${path//-/_} $dir/${path%-path};"$'\n'
    done

    cat << END

http {
    types {
        text/html html;
        text/css css;
        text/javascript js;
        application/json json;
        image/svg+xml svg;
        image/png png;
        image/x-icon ico;
        audio/mpeg mp3;
        audio/ogg ogg;
        font/ttf ttf;
    }

    default_type application/octet-stream;
    access_log off;
$temp
    server {
        listen 127.0.0.1:$http_port default_server;
        $v6_default

        return 421;
    }

    server {
        listen 127.0.0.1:$http_port;
        $v6
        server_name localhost 127.0.0.1 [::1];

        location / {
            root $dir/www;

            add_header Content-Security-Policy "$csp";
            add_header Referrer-Policy no-referrer;
            add_header X-Content-Type-Options nosniff;
        }

        location = /xmpp-websocket {
            xmpp_websocket;
            xmpp_websocket_origin http://localhost:$http_port
                http://127.0.0.1:$http_port http://[::1]:$http_port;
        }

        location = /status {
            xmpp_status;
        }

        location = /metrics {
            xmpp_metrics;
        }
    }
}
END
}
