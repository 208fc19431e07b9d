# ngx_xmpp_module: an XMPP server that lives inside nginx.
#
# make help tells what can be made; the scripts behind it are in .make/.

# The nginx to build for: the installed one, by the headers of Debian's
# nginx-dev, or a source tree, by its full path.
NGX_SRC        ?=
NGX_CONFIGURE  ?=
NGINX_BIN      ?= nginx

# Variants: a full nginx with the module linked in; a full nginx beside the
# module; both under the address and undefined behaviour sanitizers.
STATIC         ?=
FULL           ?=
SANITIZE       ?=

BUILD          ?= $(if $(SANITIZE),build-asan,build)
PREFIX         ?= /usr/local
DESTDIR        ?=

CFLAGS         ?= -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS        ?= -Wl,-z,relro -Wl,-z,now

DOMAIN         ?= localhost
PORT           ?= 5222
TLS_PORT       ?= 5223
HTTP_PORT      ?= 8080
RUN_DIR        ?=

TESTS          ?= t/*.t
FUZZ           ?=
FUZZ_TIME      ?= 60
NGX_SRCS       ?=
PARTS          ?=
SCENARIOS      ?=
SERVERS        ?=
REPEATS        ?=
PUBLISH        ?=


ifneq ($(words $(CURDIR)),1)
$(error nginx cannot be built in a path with spaces: $(CURDIR))
endif

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS      += -j$(shell nproc) --no-print-directory
endif

Q               = $(if $(V),,@)

top            := $(CURDIR)
out            := $(abspath $(BUILD))
objs            = $(out)/$(if $(STATIC),objs-static,objs)
tree            = $(objs)/tree
sanitizers      = -fsanitize=address,undefined -fno-omit-frame-pointer

ifneq ($(SANITIZE),)
# each allocation of a pool by itself; nginx copies nothing from NULL
override CFLAGS = -O1 -g $(sanitizers) -fno-sanitize=nonnull-attribute \
                  -DNGX_DEBUG_PALLOC=1
override LDFLAGS = $(sanitizers)
override FULL    = 1
endif

# Settings reach the scripts and nested makes by the environment, not as
# overrides: nginx's makefile has a CFLAGS of its own.
MAKEOVERRIDES   =
export CC CFLAGS LDFLAGS NGX_SRC NGX_CONFIGURE NGINX_BIN
export STATIC FULL SANITIZE NGX_SRCS BUILD PREFIX DESTDIR
export DOMAIN PORT TLS_PORT HTTP_PORT RUN_DIR TESTS FUZZ FUZZ_TIME PARTS
export SCENARIOS SERVERS REPEATS PUBLISH MINUTES CLIENTS RATE SEED


.DEFAULT_GOAL  := all
.PHONY:         all help configure nginx xmppctl unit fuzzers fuzz run test \
                matrix interop bench chaos style install uninstall clean

all:            nginx xmppctl

help:
	@echo; cat .make/help; echo


# nginx's own makefile, written by its configure, builds the module.

configure:
	@.make/configure $(objs)

$(objs)/.configured: configure ;

nginx:          configure
	$(Q)$(MAKE) $(if $(V),,-s) -C $(tree) -f $(objs)/Makefile \
	    $(if $(STATIC),binary,$(if $(FULL),binary modules,modules))
	@.make/publish $(objs) $(out)


# xmppctl, and the unit tests: plain programs on the sources in util/ and xml/

mod            := ngx_xmpp_module
plain           = -W -Wall -Wpointer-arith -Wno-unused-parameter -Werror \
                  -MMD -MP $(addprefix -I,$(wildcard $(mod) $(mod)/*/) \
                  $(addprefix $(tree)/src/,core os/unix event event/modules \
                  event/quic) $(objs) /usr/include/libxml2)

ctl_src        := $(wildcard $(mod)/ctl/*.c $(mod)/util/*.c)
ctl_obj         = $(ctl_src:$(mod)/%.c=$(out)/ctl/%.o)

xmppctl:        $(out)/xmppctl

$(out)/xmppctl: $(ctl_obj)
	@echo "  $(BUILD)/xmppctl"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ \
	    -l:libhiredis.a -licuuc -lssl -lcrypto

$(out)/ctl/%.o: $(mod)/%.c $(objs)/.configured | configure
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(plain) -c -o $@ $<


unit_bin        = $(patsubst t/unit/%.c,$(out)/unit/%, \
                  $(wildcard t/unit/test_*.c))
unit_src       := $(wildcard $(mod)/util/*.c $(mod)/xml/*.c) \
                  $(filter-out t/unit/test_%,$(wildcard t/unit/*.c)) \
                  $(if $(wildcard t/unit/ngx_stub.c),, \
                  $(mod)/ctl/ngx_xmpp_ctl_nginx.c)
unit_obj        = $(unit_src:%.c=$(out)/unit/%.o)

unit:           $(unit_bin)

$(out)/unit/test_%: $(out)/unit/t/unit/test_%.o $(unit_obj)
	$(Q)$(CC) $(sanitizers) -o $@ $^ -lxml2 -licuuc -lcrypto

$(out)/unit/%.o: %.c $(objs)/.configured | configure
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -g $(sanitizers) $(plain) -c -o $@ $<

.PRECIOUS:      $(out)/unit/%.o


# the fuzzers, by clang's libFuzzer: each takes what it needs of a library

fuzz_bin        = $(patsubst t/fuzz/%.c,$(out)/fuzz/%, \
                  $(wildcard t/fuzz/fuzz_*.c))
fuzz_src       := $(wildcard $(mod)/util/*.c $(mod)/xml/*.c) \
                  $(mod)/redis/ngx_xmpp_redis_url.c \
                  $(mod)/store/ngx_xmpp_store_bell.c \
                  $(mod)/ctl/ngx_xmpp_ctl_nginx.c
fuzz_obj        = $(fuzz_src:%.c=$(out)/fuzz/%.o)
fuzz_flags      = -O1 -g $(sanitizers) -fno-sanitize-recover=undefined

fuzzers:        $(fuzz_bin)

$(out)/fuzz/fuzz_%: $(out)/fuzz/t/fuzz/fuzz_%.o $(out)/fuzz/fuzz.a
	$(Q)clang $(fuzz_flags) -fsanitize=fuzzer -o $@ $^ \
	    -lxml2 -licuuc -lcrypto

$(out)/fuzz/fuzz.a: $(fuzz_obj)
	$(Q)rm -f $@ && ar rc $@ $^

$(out)/fuzz/%.o: %.c $(objs)/.configured | configure
	@mkdir -p $(@D)
	$(Q)clang $(fuzz_flags) -fsanitize=fuzzer-no-link $(plain) -c -o $@ $<

.PRECIOUS:      $(out)/fuzz/%.o $(out)/fuzz/fuzz.a

-include        $(wildcard $(out)/ctl/*/*.d $(out)/unit/*/*/*.d \
                  $(out)/fuzz/*/*/*.d)


run test fuzz matrix interop bench chaos install uninstall:
	@.make/$@

style:
	@prove -v t/00-style.t

.PHONY:         docs

docs:
	@.make/docs xep > docs/xep.md.new
	@mv docs/xep.md.new docs/xep.md
	@.make/docs directives > docs/modules/README.md.new
	@mv docs/modules/README.md.new docs/modules/README.md

clean:
	rm -rf build build-asan
