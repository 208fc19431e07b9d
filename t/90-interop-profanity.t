#!/usr/bin/perl

# profanity, in a terminal, logs in over TLS on two hosts and chats.
# RFC 6120, 6121, 7590.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib", "$FindBin::Bin/interop";

use Test::More;
use Chat;

Interop::Chat::run('profanity');
