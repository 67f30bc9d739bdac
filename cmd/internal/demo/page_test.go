package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/cmd/internal/lab"
)

var update = flag.Bool("update", false, "write the page with what its commands print today")

// incidentsPage is the page for operators whose commands are run here.
const incidentsPage = "../../../quarantine/incidents.md"

//go:generate go test -run TestTheIncidentsPageShowsWhatItsCommandsPrint -update

// Each block of the page that is called console holds commands, which begin with
// "$ ", and what they print on a terminal. A comment "act: NAME" before it has
// something happen that no operator does, and "until: TEXT" waits until the newest
// incident shows that. Times and the order of lines may differ,
// and IDs stand for those of this run.
//
// A command of a new page names an ID as {TEXT}: the ID in the last line that was
// printed with TEXT in it. With -update it is written out.
func TestTheIncidentsPageShowsWhatItsCommandsPrint(t *testing.T) {
	page, err := os.ReadFile(incidentsPage)
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t, string(page))
	fresh, stale := p.play(string(page))
	switch {
	case len(stale) == 0:
	case *update:
		if err := os.WriteFile(incidentsPage, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the page is stale, run go generate ./cmd/internal/demo:\n%s", strings.Join(stale, "\n"))
	}
}

// page is the site that the page's commands see.
type page struct {
	*site
	t       *testing.T
	sidecar *process
	ids     map[string]string // of the page: that of this run
	printed []string          // lines
}

func newPage(t *testing.T, text string) *page {
	dir, err := os.MkdirTemp("", "weir") // a short one, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &page{t: t, site: open(dir, filepath.Join(dir, "bin", "weir-program")), ids: map[string]string{}}
	if out, err := exec.Command("go", "build", "-o", p.weir, "github.com/weirmail/weir/cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.must(prepare(dir, "../../../testdata"))
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s\n", p.weir, p.config())
	p.must(os.WriteFile(filepath.Join(dir, "bin", "weir"), []byte(wrapper), 0o755))
	// What the page says of this site's configuration.
	for _, m := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(text, -1) {
		p.appendTo("weir.toml", "\n"+m[1])
	}
	for _, m := range regexp.MustCompile("(?s)```csv\n(.*?)```").FindAllStringSubmatch(text, -1) {
		p.appendTo("directory.csv", m[1])
	}
	daemon, err := p.serve(t.Context())
	p.must(err)
	t.Cleanup(func() { _ = daemon.stop() })
	p.sidecar, err = p.pull()
	p.must(err)
	t.Cleanup(func() { _ = p.sidecar.stop() })
	return p
}

func (p *page) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *page) appendTo(name, text string) {
	p.t.Helper()
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	p.must(err)
	_, err = f.WriteString(text)
	p.must(errors.Join(err, f.Close()))
}

// play goes through a page, and gives it as it is today and what differs.
func (p *page) play(text string) (fresh string, stale []string) {
	var out strings.Builder
	lines := strings.SplitAfter(text, "\n")
	act := regexp.MustCompile(`^<!-- (act|until): (.*) -->\n$`)
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		out.WriteString(line)
		if m := act.FindStringSubmatch(line); m != nil {
			if m[1] == "until" {
				p.until(m[2])
			} else if do, known := p.acts()[m[2]]; known {
				do()
			} else {
				p.t.Fatalf("nobody knows how to %q", m[2])
			}
		}
		if line != "```console\n" {
			continue
		}
		for i++; i < len(lines) && lines[i] != "```\n"; {
			command := strings.TrimSuffix(lines[i], "\n")
			if !strings.HasPrefix(command, "$ ") {
				p.t.Fatalf("not a command: %s", command)
			}
			var before []string
			for i++; i < len(lines) && lines[i] != "```\n" && !strings.HasPrefix(lines[i], "$ "); i++ {
				before = append(before, strings.TrimSuffix(lines[i], "\n"))
			}
			own := p.translate(command)
			after := p.run(own)
			if own != command && strings.Contains(command, "{") || !slices.Equal(comparable(before), comparable(after)) {
				stale = append(stale, command, "  shown:", strings.Join(before, "\n"), "  printed:", strings.Join(after, "\n"))
			}
			p.learn(before, after)
			p.printed = append(p.printed, after...)
			out.WriteString(own + "\n")
			for _, l := range after {
				out.WriteString(l + "\n")
			}
		}
		out.WriteString("```\n")
	}
	return out.String(), stale
}

// What differs from run to run.
var (
	anID   = regexp.MustCompile(`\b01[0-9A-HJKMNP-TV-Z]{8,24}\b`)
	aTime  = regexp.MustCompile(`\b20\d\d-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?(Z| [+-]\d\d\d\d)?`)
	spaces = regexp.MustCompile(`  +`)
	named  = regexp.MustCompile(`\{([^}]+)\}`)
	people = regexp.MustCompile(`\banna \(unix:1000\)|\banna\b|\bunix:1000\b`)
)

// likeness is a line without what differs from run to run.
func likeness(line string) string {
	line = people.ReplaceAllString(aTime.ReplaceAllString(anID.ReplaceAllString(line, "ID"), "TIME"), "WHO")
	return strings.TrimSpace(spaces.ReplaceAllString(line, " "))
}

func comparable(lines []string) []string {
	var all []string
	for _, l := range lines {
		all = append(all, likeness(l))
	}
	slices.Sort(all)
	return all
}

// learn takes note of which IDs of the page are which of this run.
func (p *page) learn(before, after []string) {
	for _, b := range before {
		for _, a := range after {
			if likeness(a) != likeness(b) {
				continue
			}
			mine := anID.FindAllString(a, -1)
			for i, id := range anID.FindAllString(b, -1) {
				if _, known := p.ids[id]; !known {
					p.ids[id] = mine[i]
				}
			}
		}
	}
}

// translate puts IDs of this run into a command of the page.
func (p *page) translate(command string) string {
	command = anID.ReplaceAllStringFunc(command, func(id string) string {
		if own, ok := p.ids[id]; ok {
			return own
		}
		return id
	})
	return named.ReplaceAllStringFunc(command, func(ref string) string {
		for _, l := range slices.Backward(p.printed) {
			if id := anID.FindString(l); id != "" && strings.Contains(l, ref[1:len(ref)-1]) {
				return id
			}
		}
		return ref
	})
}

// columns is the width of the page's terminal.
const columns = 176

// run runs a command as at a terminal, and gives the lines that it prints.
func (p *page) run(command string) []string {
	p.t.Helper()
	const etc = "/etc/weir/"
	terminal, screen, err := openTerminal()
	p.must(err)
	defer func() { _ = terminal.Close() }()
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", strings.ReplaceAll(strings.TrimPrefix(command, "$ "), etc, p.dir+"/"))
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(p.dir, "bin")+":"+os.Getenv("PATH"), "NO_COLOR=1", "TERM=dumb", "TZ=UTC")
	cmd.Stdout, cmd.Stderr = screen, screen
	p.must(cmd.Start())
	p.must(screen.Close())
	printed, err := io.ReadAll(terminal)
	if err != nil && !errors.Is(err, syscall.EIO) { // how Linux says that nobody writes any more
		p.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(printed), "\r\n", "\n"), p.dir+"/", etc)
	text = p.asAnna(strings.TrimSuffix(text, "\n"))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// asAnna writes another name for the user who runs all of this.
func (p *page) asAnna(text string) string {
	uid := strconv.Itoa(os.Geteuid())
	text = regexp.MustCompile(`\bunix:`+uid+`\b`).ReplaceAllString(text, "unix:1000")
	if u, err := user.LookupId(uid); err == nil {
		text = regexp.MustCompile(`\b`+regexp.QuoteMeta(u.Username)+`\b`).ReplaceAllString(text, "anna")
	}
	return text
}

// openTerminal gives both ends of a terminal.
func openTerminal() (master, screen *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n := 0
	if err == nil {
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: columns})
	}
	if err == nil {
		screen, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, screen, nil
}

// until waits until weir incident show of the newest incident has a text in it.
func (p *page) until(text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	var shown string
	err := lab.Poll(ctx, func() (bool, error) {
		id := anID.FindString(strings.Join(p.run("$ weir incident list --limit 1"), "\n"))
		if id != "" {
			shown = strings.Join(p.run("$ weir incident show "+id), "\n")
		}
		return strings.Contains(shown, text), nil
	})
	if err != nil {
		p.t.Fatalf("waiting for %q: %v\n%s", text, err, shown)
	}
}

// acts are what happens around the operator.
func (p *page) acts() map[string]func() {
	return map[string]func(){
		"mail": p.mail,
		"the cap is 1": func() {
			config, err := os.ReadFile(p.config())
			p.must(err)
			p.must(os.WriteFile(p.config(), bytes.Replace(config, []byte("[incident]\n"), []byte("[incident]\nmax_deliveries = 1\n"), 1), 0o644))
			_, err = p.weirCmd(p.t.Context(), "reload")
			p.must(err)
		},
		"the mail store works again for gina": func() { p.must(p.mta.flush()) },
		"the sidecar stops":                   func() { p.must(p.sidecar.stop()) },
		"the sidecar starts": func() {
			var err error
			p.sidecar, err = p.pull()
			p.must(err)
		},
		"the mail store goes away":  func() { p.must(os.Rename(p.boxes.root, p.boxes.root+".away")) },
		"the mail store comes back": func() { p.must(os.Rename(p.boxes.root+".away", p.boxes.root)) },
	}
}

// mail delivers what the page is about.
func (p *page) mail() {
	at := func(names ...string) (all []string) {
		for _, n := range names {
			all = append(all, n+domain)
		}
		return all
	}
	p.boxes.ago = time.Hour
	p.mta.aliases = map[string][]string{"team" + domain: at("bob", "carol"), "frank" + domain: {"frank@home.example"}, "plant" + domain: at("erik")}
	p.mta.down = map[string]bool{"gina" + domain: true}
	p.mta.rewrite = map[string]func([]byte) []byte{"erik" + domain: func(raw []byte) []byte {
		return append(bytes.Clone(raw), "-- \r\nThis list is moderated.\r\n"...)
	}}
	invoice, err := os.ReadFile("../../../testdata/" + laterFile)
	p.must(err)
	text := func(subject, id, body string) []byte {
		return []byte("From: News <news@bank-alerts.example>\nTo: alice@weir.example\nSubject: " + subject + "\nMessage-ID: <" + id + ">\n\n" + body + "\n")
	}
	answers, err := p.mta.receive(
		letter{laterSender, at("alice", "team", "vera", "plant", "frank", "abuse", "gina", "dora"), invoice},
		letter{"news@bank-alerts.example", at("alice", "bob"), text("Your account is closed", "a1@bank-alerts.example", "Call us at once: 555 0199")},
		letter{"news@bank-alerts.example", at("carol"), text("Your account, last reminder", "a2@bank-alerts.example", "Call us today: 555 0199")},
		letter{"hr@partner.example", at("alice", "bob"), text("Holidays", "h1@partner.example", "See https://partner.example/holidays")},
	)
	p.must(err)
	for _, a := range answers {
		if a.Action.String() != "accept" {
			p.t.Fatalf("%+v", a)
		}
	}
	p.must(p.boxes.mark("alice"+domain, "INBOX", "RS"))
	p.must(p.boxes.mark("bob"+domain, "Invoices", "S"))
	all, err := p.boxes.all()
	p.must(err)
	for _, s := range all {
		if s.user == "dora"+domain { // she threw it away
			p.must(os.Remove(s.path))
		}
	}
	if _, err := os.Stat(p.boxes.dir("frank" + domain)); !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal("frank has a mailbox")
	}
}
