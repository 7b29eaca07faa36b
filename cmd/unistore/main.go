// Command unistore is the S3-compatible caching gateway and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"unistore/config"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(execute(context.Background(), os.Args[1:], process{
		out: os.Stdout, err: os.Stderr, environ: os.Environ(),
	}))
}

// process is what a command may touch of the process it runs in.
type process struct {
	out, err io.Writer
	environ  []string
}

func (p process) getenv(name string) string {
	for _, kv := range p.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// failed is an error of a command that was called correctly.
type failed struct{ error }

func (f failed) Unwrap() error { return f.error }

// fail marks err, unless it is nil.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return failed{err}
}

// errQuiet is a failure that the command itself has reported.
var errQuiet = errors.New("")

// execute runs the command line args and returns the exit code.
func execute(ctx context.Context, args []string, p process) int {
	root := newRoot(p)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errQuiet) {
		for line := range strings.Lines(strings.TrimSuffix(err.Error(), "\n")) {
			fmt.Fprintf(p.err, "unistore: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	if f, ok := errors.AsType[failed](err); ok && !fromFlags(f.error) {
		return exitFailed
	}
	fmt.Fprintf(p.err, "See '%s --help'.\n", cmd.CommandPath())
	return exitUsage
}

// fromFlags reports whether err is about a flag's value: that is usage.
func fromFlags(err error) bool {
	errs, _ := errors.AsType[config.Errors](err)
	for _, e := range errs {
		if strings.HasPrefix(e.Source, "flag ") {
			return true
		}
	}
	return false
}

func newRoot(p process) *cobra.Command {
	root := &cobra.Command{
		Use:               "unistore",
		Short:             "An S3-compatible caching gateway",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(p.err)
			if err := cmd.Help(); err != nil {
				return err
			}
			return errors.New("a command is missing")
		},
	}
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.PersistentFlags().Bool("json", false, "print JSON")
	root.AddCommand(newServe(p), newCheck(p), newCache(p), newWarm(p), newQuery(p), newUploads(p), newFaults(p), newVersion(p))
	return root
}

// asJSON is the flag --json.
func asJSON(cmd *cobra.Command) bool {
	on, err := cmd.Flags().GetBool("json")
	return err == nil && on
}
