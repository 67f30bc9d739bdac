package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/yardstick"
)

// server is one milter that is measured, with all processes that belong to it.
type server struct {
	name   string
	what   string // what is inside its figures
	socket string
	group  proc.Group

	process *lab.Program           // the daemon; nil for others
	heap    func() (string, error) // what the daemon tells of its heap; nil for others
}

// acceptEnv makes this program an accept-everything milter: "replies PATH" or
// "silent PATH". A milter that is measured has a process of its own.
const acceptEnv = "WEIR_BENCH_ACCEPT"

// serveAccept is that milter's main function. It returns when it is told to end,
// or why it cannot serve.
func serveAccept(spec string) error {
	kind, path, _ := strings.Cut(spec, " ")
	ln, err := milter.Listen(milter.Socket{Network: "unix", Address: path, Mode: 0o666})
	if err != nil {
		return err
	}
	return yardstick.Serve(ln, kind == "replies")
}

func startAccept(l *lab.Lab, replies bool) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{name: "accept-silent", what: "go-milter that reads everything and accepts it, with no-reply flags"}
	kind := "silent"
	if replies {
		s.name, s.what, kind = "accept-replies", "go-milter that reads everything and accepts it, with replies", "replies"
	}
	s.socket = filepath.Join(l.Dir(), s.name+".sock")
	p, err := l.Program(lab.ProgramOptions{Name: s.name, Args: []string{self}, Env: []string{acceptEnv + "=" + kind + " " + s.socket}, Ready: "unix:" + s.socket})
	if err != nil {
		return nil, err
	}
	s.group, err = proc.GroupOf(p.PID())
	return s, err
}

// startRspamd starts Debian's rspamd with lists like Weir's, and with as many
// workers as there are processors: the other servers use all of them too, and
// what a message costs depends on how busy they are.
//
// The target is set against the one without rules, which is about as little as
// rspamd can be made to do of what Weir does: it parses the message, looks up
// senders, sender domains, URL hosts and digests of attachments in lists of the
// same length (multimap), and answers. It has no rules, DNS, Redis, statistics,
// history or message store, and writes no line of log for a message; Weir's
// figure holds its journal, its indexes and its log line. With rules a message
// costs it half as much again and more, so that a ratio against such a one would
// be the easier one to reach; rspamd-rules stands beside it to show this.
func startRspamd(l *lab.Lab, known knownBad, rules bool) (*server, error) {
	s := &server{name: "rspamd", what: fmt.Sprintf("Debian's rspamd, %d workers, no rules: %d senders, sender domains, URL hosts and digests each", runtime.NumCPU(), known.n)}
	if rules {
		s.name, s.what = "rspamd-rules", "the same rspamd with the rules that it comes with and that need no network"
	}
	workers := filepath.Join(l.Dir(), s.name+"-workers.conf")
	if err := os.WriteFile(workers, fmt.Appendf(nil, "worker \"rspamd_proxy\" { count = %d; }\n", runtime.NumCPU()), 0o644); err != nil {
		return nil, err
	}
	r, err := l.Rspamd(lab.RspamdOptions{Rules: rules, Config: fmt.Sprintf(".include(duplicate=merge,priority=10) %q\n", workers),
		Senders: known.all(known.sender), Domains: known.all(known.domain), URLs: known.all(known.urlHost), SHA256: known.all(known.digest)})
	if err != nil {
		return nil, err
	}
	pids, err := r.PIDs()
	if err != nil {
		return nil, err
	}
	s.socket = r.Socket()
	s.group, err = proc.GroupOf(pids...)
	return s, err
}

// startWeir starts the daemon with its default policy and its default settings
// but for paths, as a user without rights, and waits until it judges.
func startWeir(ctx context.Context, l *lab.Lab, program, name string, known knownBad) (*server, error) {
	uid, gid, err := nobody()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(l.Dir(), name+"-home")
	if err := makeHome(dir, uid, gid, known); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := runWeir(ctx, l, program, name, dir)
	if err == nil {
		s.what = fmt.Sprintf("the daemon with its default policy and settings, journal on: %d senders, domains, URLs and digests each, none in the messages", known.n)
	}
	return s, err
}

// runWeir starts the daemon on a home that was made, and waits until it judges.
func runWeir(ctx context.Context, l *lab.Lab, program, name, dir string) (*server, error) {
	uid, gid, err := nobody()
	if err != nil {
		return nil, err
	}
	s := &server{name: name, socket: filepath.Join(dir, "milter.sock")}
	p, err := l.Program(lab.ProgramOptions{
		Name: name, Args: []string{program, "serve", "--config", filepath.Join(dir, "weir.toml")},
		User: uint32(uid), Group: uint32(gid), Ready: "unix:" + s.socket, Grace: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	s.process = p
	if s.group, err = proc.GroupOf(p.PID()); err != nil {
		return nil, err
	}
	web := unixClient(filepath.Join(dir, "metrics.sock"))
	s.heap = func() (string, error) { return heap(web) }
	return s, lab.Poll(ctx, func() (bool, error) {
		select {
		case <-p.Exited():
			return false, fmt.Errorf("%s ended by itself: %w", name, p.Err())
		default:
		}
		return answersOK(web, "http://weir/readyz"), nil
	})
}

func answersOK(web *http.Client, url string) bool {
	r, err := web.Get(url)
	if err != nil {
		return false
	}
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func makeHome(dir string, uid, gid int, known knownBad) error {
	lists := filepath.Join(dir, "lists", "block")
	if err := os.MkdirAll(lists, 0o755); err != nil {
		return err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return err
	}
	for name, entry := range map[string]func(int) string{
		"senders": known.sender, "domains": known.domain, "urls": known.url, "files": known.digest,
	} {
		text := strings.Join(known.all(entry), "\n") + "\n"
		if err := os.WriteFile(filepath.Join(lists, name+".txt"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	conf := fmt.Sprintf(`[state]
dir = "state"
[milter]
listen = ["unix:milter.sock"]
socket_group = ""
socket_mode = "0666"
[control]
listen = "unix:control.sock"
[metrics]
listen = "unix:metrics.sock"
[mail]
local_domains = [%q]
`, domain)
	return os.WriteFile(filepath.Join(dir, "weir.toml"), []byte(conf), 0o644)
}

// nobody gives the user without rights that every Debian has.
func nobody() (uid, gid int, err error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return 0, 0, err
	}
	uid, errUser := strconv.Atoi(u.Uid)
	gid, errGroup := strconv.Atoi(u.Gid)
	return uid, gid, errors.Join(errUser, errGroup)
}

func unixClient(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
}

// heap says in words what the daemon's Go heap is like.
func heap(web *http.Client) (string, error) {
	m, err := scrape(web)
	if err != nil {
		return "", err
	}
	in, gc := m["go_memstats_heap_inuse_bytes"], m["go_memstats_next_gc_bytes"]
	if in == 0 || gc == 0 {
		return "", errors.New("the daemon's metrics do not tell of its heap")
	}
	return fmt.Sprintf("%.1f MB of Go heap in use (%.1f MB at which it is collected next), %.1f MB resident", in/1e6, gc/1e6, m["process_resident_memory_bytes"]/1e6), nil
}

// scrape gives the daemon's metrics by name, those with labels summed up.
func scrape(web *http.Client) (map[string]float64, error) {
	r, err := web.Get("http://weir/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	all := map[string]float64{}
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		line := lines.Text()
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err == nil && !strings.HasPrefix(line, "#") {
			all[name] += value
		}
	}
	return all, lines.Err()
}
