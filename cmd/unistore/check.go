package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"unistore/config"
	"unistore/gateway"
)

func newCheck(p process) *cobra.Command {
	var live, write bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and reach every upstream",
		Long: `Validates the configuration and reaches every upstream as serving would: does it answer, are the
credentials taken, can the buckets of the routes be listed, can a range be read. It stores nothing unless
--write allows it; then it also writes, replaces and deletes an object of its own, unistore-check-..., in a
bucket that a route names: whole, in parts, under conditions. What was not tried is said, with the reason.
Exit code 1 when a step failed. With --live it asks a running gateway instead whether it is ready (for health checks).`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd, p)
	admin := addAdminFlags(cmd, p)
	cmd.Flags().BoolVar(&live, "live", false, "ask the running gateway's /readyz")
	cmd.Flags().BoolVar(&write, "write", false, "try writing too, with an object of its own")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if live {
			return admin.ready(cmd, p)
		}
		opts, err := flags.options(cmd, p)
		if err != nil {
			return err
		}
		opts.KeepCredentials, opts.EnableFaults = true, true
		cfg, err := config.Load(opts)
		if err != nil {
			return fail(err)
		}
		results := gateway.Check(cmd.Context(), cfg, gateway.CheckOptions{Write: write})
		if asJSON(cmd) {
			err = json.NewEncoder(p.out).Encode(map[string]any{"config": cfg.Source, "warnings": cfg.Warnings, "checks": results})
		} else {
			err = printChecks(p, cfg, results)
		}
		if err == nil && slices.ContainsFunc(results, func(r gateway.CheckResult) bool { return r.Result == gateway.CheckFailed }) {
			err = errQuiet
		}
		return fail(err)
	}
	return cmd
}

func printChecks(p process, cfg *config.Config, results []gateway.CheckResult) error {
	fmt.Fprintf(p.out, "%s: valid\n", cfg.Source)
	for _, w := range cfg.Warnings {
		fmt.Fprintf(p.out, "warning: %s\n", w)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "UPSTREAM\tSTEP\tRESULT\tTOOK\tDETAIL")
	for _, r := range results {
		result := r.Result
		if result == gateway.CheckFailed {
			result = "FAILED"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Upstream, r.Step, result, r.Took.Round(100*time.Microsecond), r.Detail)
	}
	return w.Flush()
}
