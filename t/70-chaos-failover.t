#!/usr/bin/perl

# 70-chaos.t, with xmpp_durability replicas=1 and sentinels: Redis fails over.

use strict;
use warnings;

use FindBin;

$ENV{XMPP_CHAOS_SETTING} = 'replicas';

defined do "$FindBin::Bin/70-chaos.t" or die $@ || $!;
