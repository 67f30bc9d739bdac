package control

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

var update = flag.Bool("update", false, "write openapi.json")

func TestTheDocumentIsMadeFromTheOperations(t *testing.T) {
	want, err := api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(document, want) {
		t.Error("openapi.json is stale: run go generate ./cmd/internal/control")
	}
}
