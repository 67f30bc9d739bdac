# Weir: see README.md. "make run" and "make test" need Go and this folder alone;
# what else the tests need is installed where it is missing (Debian, Ubuntu).

GO ?= go
# The e2e tests must run, not be skipped.
E2E = WEIR_REQUIRE_E2E=1
SITE = .run
LINTER = .tools/golangci-lint
LINTER_VERSION = v2.15.0
FUZZTIME ?= 10s
FUZZ ?= .

.PHONY: build run send demo test race e2e short bench fuzz lint install clean

build:
	$(GO) build -o bin/weir ./cmd/weir

# A daemon on sample lists, and a sidecar for the mailboxes beside them, in a folder
# of their own. They end with Ctrl-C.
run: build
	@$(GO) run ./cmd/internal/demo --prepare $(SITE)
	@echo
	@echo "Weir starts in $(SITE)/: its configuration is $(SITE)/weir.toml, its lists are in $(SITE)/lists/."
	@echo "Send it messages from another terminal, and look at what became of them:"
	@echo
	@echo "    make send MESSAGE=testdata/messages/phish.eml"
	@echo "    bin/weir --config $(SITE)/weir.toml quarantine list"
	@echo "    make send MESSAGE=testdata/later.eml"
	@echo "    find $(SITE)/mail -type f"
	@echo
	@echo "The second one lies in a mailbox. An edit of a list counts at once, for it too:"
	@echo
	@echo "    echo 'files.nordwind.example' >> $(SITE)/lists/block/sample.txt"
	@echo "    find $(SITE)/mail -type f"
	@echo "    bin/weir --config $(SITE)/weir.toml incident list"
	@echo
	@bin/weir pull --config $(SITE)/pull.toml 2>> $(SITE)/pull.log & pull=$$!; \
	trap 'kill $$pull 2>/dev/null; wait $$pull' EXIT; trap : INT TERM; \
	bin/weir serve --config $(SITE)/weir.toml

# Hands a message to the daemon of "make run", as a mail server does, and delivers
# it if it may.
send:
	@test -n "$(MESSAGE)" || { echo "say which: make send MESSAGE=testdata/messages/phish.eml"; exit 2; }
	@$(GO) run ./cmd/internal/demo --site $(SITE) "$(MESSAGE)"

# What Weir does, in a story: messages, verdicts, the quarantine, a release; and
# mail that is pulled out of mailboxes and put back.
demo: build
	@$(GO) run ./cmd/internal/demo --weir bin/weir

# What the tests need besides Go.
install:
	@$(GO) run ./cmd/internal/lab/install

# Some tests build the program and run it, which the test cache does not see. The
# linters vet.
test: install
	$(E2E) $(GO) test -count=1 -vet=off -timeout 15m ./...

# Quicker: with less of what takes long, and without the mail servers that are not
# installed.
short:
	$(GO) test -short ./...

# The packages that start the program as a process of its own are left out: that
# has no race detector in it.
race: install
	GORACE=atexit_sleep_ms=0 $(GO) test -race -short -vet=off -timeout 15m $$($(GO) list ./... | grep -v -e /cmd/internal/e2e -e /cmd/internal/bench -e /cmd/internal/demo -e /cmd/internal/lab)

bench:
	@$(GO) run ./cmd/internal/lab/install -rspamd
	$(GO) run ./cmd/internal/bench $(BENCH)

# Each fuzz target below FUZZ for a while: what comes from strangers is parsed here.
# One that fails is tried once more: Go may say so when the time is over in a bad moment
# ("context deadline exceeded"), and what was really found is in testdata by then and
# fails again.
fuzz:
	@set -e; for package in $$(grep -rl '^func Fuzz' --include='*_test.go' $(FUZZ) | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$package/*_test.go | cut -c6-); do \
	    echo "$$package $$target"; \
	    fuzz="$(GO) test -vet=off -run ^$$target\$$ -fuzz ^$$target\$$ -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./$$package"; \
	    $$fuzz || $$fuzz; \
	  done; \
	done

$(LINTER):
	@mkdir -p $(@D)
	GOBIN=$(CURDIR)/.tools $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)

lint: $(LINTER)
	$(LINTER) run ./...
	$(GO) mod tidy -diff

clean:
	rm -rf bin $(SITE)
