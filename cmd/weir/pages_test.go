package main

import (
	"os"
	"testing"

	"github.com/weirmail/weir/cmd/internal/cli"
	"github.com/weirmail/weir/cmd/internal/cli/scan"
)

//go:generate go test -run TestThePagesAreMadeFromTheCode -update

func TestThePagesAreMadeFromTheCode(t *testing.T) {
	for name, want := range map[string]string{"README.md": cli.Reference(), "scan.md": scan.Page()} {
		if *update {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s is stale (%v): run go generate ./cmd/weir", name, err)
		}
	}
}
