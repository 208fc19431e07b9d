/*
 * Logs in at the WebSocket of the host that has served this page, and hands
 * the window over to Converse.js.
 *
 * A link of make run has an address and a password behind its #, which no
 * server gets to see, and which are not kept in the history: #JID:PASSWORD.
 *
 * Each tab is a session of its own, so that two accounts can chat side by side
 * in one browser: all is kept in sessionStorage, and gone with the tab.  A
 * reload of the page goes on with the session.
 */

'use strict';

const page = document.getElementById('page');
const form = document.getElementById('login');
const said = document.getElementById('said');

let asked = '';

/* what Converse.js has, and this server does not: rooms, PEP */

const unused = ['converse-bookmark-views', 'converse-bookmarks',
                'converse-omemo', 'converse-omemo-views'];

/* its own screen for a login, with pictures from elsewhere; rooms */

const hidden = ['converse-brand-logo', 'converse-controlbox-navbar',
                'converse-footer', 'converse-login-form',
                'converse-rooms-list'];


function login(jid, password) {
    asked = jid;

    const url = new URL('xmpp-websocket', location.href);

    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.hash = '';

    /* whose keys Converse.js takes for a password: those of this tab */
    localStorage.setItem('conversejs-session-jid', jid);

    converse.plugins.add('page', { initialize() { follow(this._converse); } });

    converse.initialize({
        allow_url_history_change: false,
        assets_path: new URL('converse/', location.href).pathname,
        authentication: 'login',
        auto_login: true,
        blacklisted_plugins: unused,
        clear_cache_on_logout: true,
        clear_messages_on_reconnection: false,
        discover_connection_methods: false,
        embed_3rd_party_media_players: false,
        jid,
        password,
        persistent_store: 'sessionStorage',
        render_media: false,
        view_mode: 'fullscreen',
        websocket_url: url.href,
        whitelisted_plugins: ['page'],
    }).catch(() => leave());

    page.hidden = true;
}


/* the chat with the other account is open at first, so that one can write */

function follow(_converse) {
    const api = _converse.api;
    const feedback = _converse.state.connfeedback;
    const { AUTHFAIL, CONNFAIL } = converse.env.Strophe.Status;
    let why = 'The server does not answer.';

    for (const name of hidden) {
        api.elements.define(name, class extends HTMLElement { });
    }

    feedback.on('change', () => {
        if ([AUTHFAIL, CONNFAIL].includes(feedback.get('connection_status'))) {
            why = feedback.get('message') ?? why;
        }
    });

    /* it would resume a session once, and begin a new one the next time */

    for (const name of ['connected', 'reconnected']) {
        api.listen.on(name, () => {
            _converse.session.save('smacks_resumed', false);
            why = '';
        });
    }

    api.listen.on('connected', async () => {
        const own = api.user.jid().split('/')[0];

        document.title = own;
        sessionStorage.setItem('jid', own);

        for (const jid of settings.accounts) {
            if (jid !== own && settings.accounts.includes(own)) {
                await api.chats.open(jid);
            }
        }
    });

    api.listen.on('disconnected', () => leave(why));
}


/* logged out, or refused: Converse.js starts once in the life of a page */

function leave(why) {
    sessionStorage.clear();
    localStorage.removeItem('conversejs-session-jid');

    if (why) {
        sessionStorage.setItem('said', why);
        sessionStorage.setItem('asked', asked);
    }

    location.replace(location.pathname);
}


function show() {
    const accounts = document.getElementById('accounts');

    for (const jid of settings.accounts) {
        const button = document.createElement('button');

        button.type = 'button';
        button.textContent = jid.split('@')[0];
        button.addEventListener('click', () => choose(jid));
        accounts.append(button);
    }

    form.elements.jid.addEventListener('input', mark);
    form.addEventListener('submit', (event) => {
        event.preventDefault();
        login(form.elements.jid.value.trim(), form.elements.password.value);
    });

    said.textContent = sessionStorage.getItem('said') ?? '';
    said.hidden = !said.textContent;
    sessionStorage.removeItem('said');

    form.hidden = false;
    document.getElementById('hint').hidden = false;

    /* a wrong password is no reason to choose somebody else */
    choose(sessionStorage.getItem('asked') ?? settings.accounts[0] ?? '');
    sessionStorage.removeItem('asked');
}


function choose(jid) {
    form.elements.jid.value = jid;
    mark();
    form.elements.password.focus();
}


function mark() {
    settings.accounts.forEach((jid, i) => {
        document.getElementById('accounts').children[i].ariaPressed =
            String(jid === form.elements.jid.value.trim());
    });
}


function start() {
    const link = decodeURIComponent(location.hash).match(/^#([^:]+@.+?):(.+)$/);
    const kept = sessionStorage.getItem('jid');

    document.getElementById('domain').textContent = settings.domain;

    if (!window.converse) {
        document.getElementById('missing').hidden = false;

    } else if (link) {
        history.replaceState(null, '', location.pathname);
        sessionStorage.clear();
        login(link[1], link[2]);

    } else if (kept) {
        login(kept);

    } else {
        show();
    }

    /* a link that is opened in a tab where the page is already */
    addEventListener('hashchange', () => {
        if (location.hash.includes('@')) {
            location.reload();
        }
    });
}


start();
