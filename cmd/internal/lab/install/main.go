// Command install fetches what the tests of Weir need and this Debian host
// does not have yet: mail servers from Debian's packages, and Sendmail, which
// conflicts with Postfix as a package, unpacked into a cache folder (see
// lab.SendmailRoot). It does nothing, quickly, when all is there.
//
//	go run ./cmd/internal/lab/install [-rspamd] [-n]
//
// -rspamd adds what only the bench needs, -n only says what is missing (exit
// status 1). It runs apt-get as root, by sudo where it is not root itself. The
// servers that are installed are not started.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weirmail/weir/cmd/internal/lab"
)

func main() {
	rspamd := flag.Bool("rspamd", false, "install rspamd too, for the bench")
	dry := flag.Bool("n", false, "only say what is missing")
	flag.Parse()
	// An interrupt reaches apt-get too; when it has ended, what was changed for
	// its time is undone before this program ends.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	needs := []lab.Need{lab.NeedPostfix, lab.NeedDovecot, lab.NeedOpenDKIM, lab.NeedSendmail, lab.NeedBIND}
	if *rspamd {
		needs = append(needs, lab.NeedRspamd)
	}
	missing := lab.Missing(needs...)
	if len(missing) == 0 {
		return
	}
	fmt.Println("missing for the tests:", strings.Join(missing, ", "))
	if *dry {
		os.Exit(1)
	}
	if err := install(needs); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
	if still := lab.Missing(needs...); len(still) > 0 {
		fmt.Fprintln(os.Stderr, "install: done, and still missing:", strings.Join(still, ", "))
		os.Exit(1)
	}
}

func install(needs []lab.Need) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("there is no apt-get here: the tests need Debian or Ubuntu, in a container if need be")
	}
	var packages []string
	for _, n := range needs {
		for _, p := range lab.Packages(n) {
			if !exists(p.File) {
				packages = append(packages, p.Name)
			}
		}
	}
	sendmail := slices.Contains(needs, lab.NeedSendmail) && !lab.SendmailUnpacked()
	// An index of some weeks ago knows versions that the mirrors have dropped since.
	if err := run(asRoot(exec.Command("apt-get", "update", "-q"))); err != nil {
		return err
	}
	if slices.Contains(packages, "postfix") {
		// Without an answer, Debian's Postfix asks one.
		preseed := exec.Command("debconf-set-selections")
		preseed.Stdin = strings.NewReader("postfix postfix/main_mailer_type select No configuration\n")
		if err := run(asRoot(preseed)); err != nil {
			return err
		}
	}
	if err := aptInstall(packages); err != nil {
		return err
	}
	if sendmail {
		return unpackSendmail()
	}
	return nil
}

func aptInstall(packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	undo, err := forbidServices()
	if err != nil {
		return err
	}
	args := append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)
	err = run(asRoot(exec.Command("env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get"}, args...)...)))
	return errors.Join(err, undo())
}

// forbidServices keeps Debian from starting the servers that are installed:
// the tests start their own. It leaves a policy that is there already alone.
func forbidServices() (undo func() error, err error) {
	const policy = "/usr/sbin/policy-rc.d"
	if exists(policy) {
		return func() error { return nil }, nil
	}
	script := exec.Command("sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >"+policy+" && chmod 755 "+policy)
	undo = func() error { return run(asRoot(exec.Command("rm", "-f", policy))) }
	return undo, run(asRoot(script))
}

// unpackSendmail makes lab.SendmailRoot, whole or not at all. Two that do so
// at once wait for each other.
func unpackSendmail() error {
	root, err := lab.SendmailRoot()
	if err != nil {
		return err
	}
	cache := filepath.Dir(root)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if lab.SendmailUnpacked() {
		return nil
	}
	work, err := os.MkdirTemp(cache, "unpack")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()

	download := exec.Command("apt-get", append([]string{"download", "-q"}, lab.SendmailPackages()...)...)
	download.Dir = work
	if err := run(download); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return err
	}
	var libraries []string
	for _, deb := range debs {
		if err := run(exec.Command("dpkg-deb", "-x", deb, filepath.Join(work, "root"))); err != nil {
			return err
		}
		depends, err := exec.Command("dpkg-deb", "-f", deb, "Depends").Output()
		if err != nil {
			return fmt.Errorf("dpkg-deb -f %s: %w", deb, err)
		}
		libraries = append(libraries, libraryPackages(string(depends))...)
	}
	if err := aptInstall(notInstalled(libraries)); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil { // what an older version of this program left
		return err
	}
	return os.Rename(filepath.Join(work, "root"), root)
}

// libraryPackages picks the shared libraries of a Depends field: the programs
// that Sendmail depends on are for running it as the host's own MTA.
func libraryPackages(depends string) []string {
	var libraries []string
	for _, d := range strings.Split(depends, ",") {
		first, _, _ := strings.Cut(d, "|")
		if name := strings.Fields(first + " -")[0]; strings.HasPrefix(name, "lib") {
			libraries = append(libraries, name)
		}
	}
	return libraries
}

func notInstalled(packages []string) []string {
	return slices.DeleteFunc(packages, func(p string) bool {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${db:Status-Status}", p).Output()
		return err == nil && string(out) == "installed"
	})
}

// asRoot makes a command run by sudo where this is not root.
func asRoot(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() == 0 {
		return cmd
	}
	elevated := exec.Command("sudo", cmd.Args...)
	elevated.Dir, elevated.Stdin = cmd.Dir, cmd.Stdin
	return elevated
}

func run(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println("+", strings.Join(cmd.Args, " "))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
