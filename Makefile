PREFIX ?= /usr/local
LUA_LIB_DIR ?= $(PREFIX)/share/lua/5.1
LUA_C_DIR ?= $(PREFIX)/lib/lua/5.1

LUAJIT ?= luajit
BUSTED ?= busted --lua=$(LUAJIT)
LUACHECK ?= luacheck
VALGRIND ?= valgrind

CFLAGS ?= -O2 -g
WARNINGS = -Wall -Wextra -Wpedantic
BUILD ?= build

# Spec files or folders to run: make test SPEC=spec/poll_spec.lua
SPEC ?= spec

VERSION := $(shell sed -n 's/.*VERSION = "\([^"]*\)".*/\1/p' minisock/cdefs.lua)
SHIM := $(BUILD)/minisock/shim.so
SOURCES := $(wildcard shim/*.c)
MODULES := $(shell find minisock -name '*.lua')
HEADERS := $(wildcard shim/*.h cdefs/*.h) $(BUILD)/constants.h

LUA_ENV = LUA_PATH="$(CURDIR)/?.lua;;" LUA_CPATH="$(abspath $(BUILD))/?.so;;"

### help: list these targets
help:
	@echo "minisock $(VERSION)"
	@sed -n 's/^### \([a-z-]*\): /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

### all: build the C shim
all: $(SHIM)

$(BUILD)/constants.h: shim/constants.list
	@mkdir -p $(@D)
	sed 's/#.*//' $< | tr -s ' ' '\n' | LC_ALL=C sort -u | sed -n \
	    's/..*/#ifdef &\nCONSTANT(&)\n#endif/p' > $@

$(SHIM): $(SOURCES) $(HEADERS) minisock/cdefs.lua
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARNINGS) $(CFLAGS) -fPIC -shared \
	    -I$(BUILD) -DMINISOCK_VERSION='"$(VERSION)"' -o $@ $(SOURCES) \
	    -Wl,-z,nodelete -Wl,-z,defs $(LDFLAGS) -pthread -lm

### demo: see bytes go over real sockets
demo:
	@.ci/deps demo
	@$(MAKE) --no-print-directory all
	@$(LUA_ENV) LUAJIT=$(LUAJIT) examples/demo.sh

### test: run the specs (SPEC=spec/poll_spec.lua for some of them)
test:
	@.ci/deps test
	@$(MAKE) --no-print-directory all
	$(LUA_ENV) LUAJIT=$(LUAJIT) $(BUSTED) $(SPEC)

# What make test leaves out takes more than the fifteen minutes there are for
# every change: an hour and a half on two cores.
### test-all: test, lint, and whatever takes longer (ALL="fuzz soak" for some)
ALL ?= test lint fuzz fuzz-shim soak hosts asan valgrind test-engines coverage
test-all:
	set -e; for target in $(ALL); do \
	    $(MAKE) --no-print-directory $$target; \
	done

# Other calls each time, which no other target has: make test's are always the
# same. Some four minutes on two cores.
### fuzz: 1,000,000 calls with random arguments (MINISOCK_FUZZ_CALLS for less)
fuzz:
	@.ci/deps test
	@$(MAKE) --no-print-directory all
	$(LUA_ENV) LUAJIT=$(LUAJIT) $(LUAJIT) spec/fuzz_many.lua

FUZZ_SECONDS ?= 30

### fuzz-shim: random bytes for the shim's functions, by libFuzzer
fuzz-shim: $(HEADERS)
	@.ci/deps fuzz-shim
	@mkdir -p $(BUILD)/fuzz
	clang -std=c11 $(WARNINGS) -g -O1 -I$(BUILD) \
	    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	    -DMINISOCK_VERSION='"$(VERSION)"' -o $(BUILD)/fuzz/shim \
	    spec/shim_fuzz.c shim/cdefs.c shim/constants.c shim/errors.c \
	    shim/wait.c -pthread -lm
	cd $(BUILD)/fuzz && ./shim -max_total_time=$(FUZZ_SECONDS) -max_len=500 \
	    -print_final_stats=1 -verbosity=0

### telemetry: how fast nginx serves with and without sending from log_by_lua
telemetry:
	@.ci/deps test
	@$(MAKE) --no-print-directory all
	$(LUA_ENV) LUAJIT=$(LUAJIT) $(LUAJIT) spec/telemetry_rates.lua

# What spec/load_spec.lua does in seconds: 10,000 connections for a minute, then
# a million that come and go. Two minutes, and more memory for the kernel's
# queues than a small machine may have.
SECONDS ?= 60
CONNECTIONS ?= 10000
CYCLES ?= 100000

### soak: many connections (SECONDS=60 CONNECTIONS=10000 CYCLES=100000 SEED=1)
soak:
	@.ci/deps test
	@$(MAKE) --no-print-directory all
	$(LUA_ENV) LUAJIT=$(LUAJIT) env SECONDS=$(SECONDS) \
	    CONNECTIONS=$(CONNECTIONS) $(LUAJIT) spec/soak.lua
	$(LUA_ENV) env CYCLES=$(CYCLES) $(LUAJIT) spec/cycles.lua

# Ten times as much as make test has of it: reloads for half a minute, 5,000
# requests of a Lua VM each, 800 waiting threads. Two minutes.
### hosts: nginx, reloaded under load, without a code cache, with threads
hosts:
	@.ci/deps test
	@$(MAKE) --no-print-directory all
	$(LUA_ENV) LUAJIT=$(LUAJIT) HOSTS_SCALE=10 $(BUSTED) spec/hosts_spec.lua

BENCH_CC = $(CC) -std=c11 -O2 $(WARNINGS)

### bench: speed beside C and other libraries (ONLY=pingpong ROUNDS=3 for less)
bench:
	@.ci/deps bench
	@$(MAKE) --no-print-directory all bench-programs
	$(LUA_ENV) LUAJIT=$(LUAJIT) BUILD=$(BUILD) $(LUAJIT) bench/run.lua

bench-programs: $(addprefix $(BUILD)/bench/, peer floor mark.so)

$(BUILD)/bench/peer: bench/peer.c
	@mkdir -p $(@D)
	$(BENCH_CC) -o $@ $^

$(BUILD)/bench/floor: bench/floor.c bench/mark.c
	@mkdir -p $(@D)
	$(BENCH_CC) -o $@ $^

$(BUILD)/bench/mark.so: bench/mark.c
	@mkdir -p $(@D)
	$(BENCH_CC) -fPIC -shared -o $@ $^

### lint: luacheck, and the shim by gcc and clang without a warning
lint:
	@.ci/deps lint
	$(LUACHECK) -q .
	$(MAKE) --no-print-directory all CC=gcc BUILD=$(BUILD)/gcc \
	    CFLAGS="-O2 -Werror"
	$(MAKE) --no-print-directory all CC=clang BUILD=$(BUILD)/clang \
	    CFLAGS="-O2 -Werror"

# What these two leave out: nginx, which would load the shim without ASan's
# library (nginx, hosts, telemetry, readme, resty_clients, resty_install);
# traces of system calls, which valgrind and ASan add to (syscalls,
# dropin_syscalls); what builds and installs a shim of its own (install); what
# puts a library of its own before libc (matrix); and signals every millisecond,
# which leave neither of them time to do anything else (storm).
MEMORY_SPECS ?= $(filter-out spec/nginx_spec.lua spec/hosts_spec.lua \
    spec/telemetry_spec.lua spec/readme_spec.lua spec/resty_clients_spec.lua \
    spec/resty_install_spec.lua spec/syscalls_spec.lua \
    spec/dropin_syscalls_spec.lua spec/install_spec.lua \
    spec/faults/matrix_spec.lua spec/faults/storm_spec.lua, \
    $(wildcard spec/*_spec.lua spec/faults/*_spec.lua))

# Under valgrind these take very long: many calls, many processes with deadlines
# to keep, or a collection at each operation.
SLOW_SPECS = spec/fuzz_spec.lua spec/reload_spec.lua spec/gc_spec.lua \
    spec/examples_spec.lua spec/resty_spec.lua spec/resty_tls_spec.lua \
    spec/luasocket_spec.lua spec/luasocket_clients_spec.lua \
    spec/networks_spec.lua spec/name_servers_spec.lua spec/load_spec.lua \
    spec/faults/eintr_spec.lua spec/faults/sigpipe_spec.lua

### asan: the specs, with the shim under AddressSanitizer and UBSan
asan:
	@.ci/deps test
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)/asan CFLAGS="-O1 -g \
	    -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	    -fno-omit-frame-pointer" LDFLAGS="-Wl,-z,undefs"
	$(MAKE) --no-print-directory run-specs BUILD=$(BUILD)/asan \
	    UNDER="env ASAN_OPTIONS=detect_leaks=0 \
	    LD_PRELOAD=$$($(CC) -print-file-name=libasan.so)"

# Nothing is compiled, and every line is counted: some specs of time fail for
# that. Left out are those of what LuaJIT compiles and of system calls, which
# all would; of millions of calls, which take very long; of nginx, where
# nothing is counted; and of random arguments, which come everywhere and say
# little of what is right.
COVERAGE_SPECS ?= $(filter-out spec/hot_path_spec.lua spec/syscalls_spec.lua \
    spec/dropin_syscalls_spec.lua spec/reload_spec.lua spec/nginx_spec.lua \
    spec/telemetry_spec.lua spec/hosts_spec.lua spec/fuzz_spec.lua \
    spec/gc_spec.lua spec/load_spec.lua spec/faults/storm_spec.lua, \
    $(wildcard spec/*_spec.lua spec/faults/*_spec.lua))
COVERAGE = $(abspath $(BUILD))/coverage

### coverage: which lines no spec reaches
coverage:
	@.ci/deps test
	@rm -rf $(COVERAGE)
	@mkdir -p $(COVERAGE)/lua
	@$(MAKE) --no-print-directory all BUILD=$(COVERAGE) \
	    CFLAGS="-O0 -g --coverage"
	-@$(MAKE) --no-print-directory run-specs BUILD=$(COVERAGE) UNDER= \
	    MEMORY_SPECS="$(COVERAGE_SPECS)" MINISOCK_COVERAGE=$(COVERAGE)/lua \
	    LUA_INIT=@$(CURDIR)/spec/coverage.lua >$(COVERAGE)/specs
	@tail -n +2 $(COVERAGE)/specs | grep -E '^[0-9]+ success|^[A-Z].* ->'
	@$(LUAJIT) spec/coverage_report.lua $(COVERAGE)/lua $(COVERAGE)

### valgrind: the specs under valgrind
valgrind:
	@.ci/deps test valgrind
	@$(MAKE) --no-print-directory all
	$(MAKE) --no-print-directory run-specs \
	    MEMORY_SPECS="$(filter-out $(SLOW_SPECS), $(MEMORY_SPECS))" \
	    UNDER="$(VALGRIND) -q --error-exitcode=9 \
	    --suppressions=$(CURDIR)/spec/valgrind.supp"

run-specs:
	$(LUA_ENV) LUAJIT="$(UNDER) $(LUAJIT)" $(UNDER) $(LUAJIT) \
	    $(shell command -v busted) $(MEMORY_SPECS)

# Other LuaJITs, other ways to compile, other processors: .ci/engines has them.
# Half an hour for all, so they aren't in make test.
ENGINES = luajit2 luajit joff hot i386 arm64
ENGINE ?= $(ENGINES)

engine-i386: private CC = i686-linux-gnu-gcc
engine-arm64: private CC = aarch64-linux-gnu-gcc

### test-engines: the specs on other LuaJITs (ENGINE=arm64 for one of them)
test-engines: $(addprefix engine-, $(ENGINE))

engine-%: $(BUILD)/engines/%/luajit
	@$(MAKE) --no-print-directory all BUILD=$(<D) CC=$(CC)
	LUA_PATH="$(CURDIR)/?.lua;;" LUA_CPATH="$(abspath $(<D))/?.so;;" \
	    CC=$(CC) ENGINE=$* LUAJIT=$(abspath $<) \
	    $(abspath $<) spec/engines.lua $(SPEC)

.PRECIOUS: $(BUILD)/engines/%/luajit
$(BUILD)/engines/%/luajit: .ci/engines
	@.ci/deps test engine-$*
	.ci/engines $* $(@D)

### deps: install what the demo and the specs need (Debian)
deps:
	@.ci/deps demo test

### install: into $(PREFIX), or $(LUA_LIB_DIR) and $(LUA_C_DIR)
install: all
	for file in minisock.lua $(MODULES); do \
	    install -D -m 644 $$file $(DESTDIR)$(LUA_LIB_DIR)/$$file || exit; \
	done
	install -d $(DESTDIR)$(LUA_C_DIR)/minisock
	install -m 755 $(SHIM) $(DESTDIR)$(LUA_C_DIR)/minisock

### clean: remove what was built
clean:
	rm -rf $(BUILD)

.PHONY: help all demo test test-all fuzz fuzz-shim telemetry soak hosts bench \
    bench-programs lint asan coverage valgrind run-specs test-engines deps \
    install clean
.DEFAULT_GOAL := all
