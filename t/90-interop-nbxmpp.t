#!/usr/bin/perl

# nbxmpp, Gajim's library, logs in over TLS on two hosts, chats, and uses all
# that an everyday client does.  RFC 6120, 6121; XEP-0191, 0280.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;
use Im;

Interop::Chat::run('nbxmpp', \&Interop::Im::run);
