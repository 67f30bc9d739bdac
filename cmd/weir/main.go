// Command weir is the daemon and the command line for it. This package fills in
// what the commands stand on; package cli says what they are.
package main

import (
	"context"
	"os"

	"github.com/weirmail/weir/cmd/internal/cli"
)

func main() { os.Exit(cli.Run(context.Background(), os.Args[1:], cli.System(), deps())) }
