package milter_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"testing"
)

// TestMain is also the process that the benchmarks measure. Of the tests it asks
// that the library never writes to the standard log, as it does about everything
// that it does not expect.
func TestMain(m *testing.M) {
	if spec := os.Getenv("WEIR_BENCH_MILTER"); spec != "" {
		benchMilterMain(spec)
		return
	}
	var said bytes.Buffer
	log.SetOutput(&said)
	code := m.Run()
	if said.Len() > 0 {
		fmt.Printf("the library wrote to the standard log:\n%s", &said)
		code = 1
	}
	os.Exit(code)
}
