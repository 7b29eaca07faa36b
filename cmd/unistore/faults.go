package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"unistore/faults"
)

const faultsPath = "/_unistore/v1/faults"

func newFaults(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "Inject faults into a gateway that runs with --enable-faults",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("a command is missing: list, set or clear") },
	}
	admin := addAdminFlags(cmd, p)
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the active faults and how often they fired", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return listFaults(cmd, p, admin) },
		},
		&cobra.Command{
			Use:   "set NAME [PARAMETER=VALUE]...",
			Short: "Make a fault active",
			Long: "Makes a fault active. Names: " + strings.Join(faults.Names(), ", ") + `.
Parameters: upstream, operation, bucket, key, match (BUCKET/KEY), skip, count, probability, seed, delay, rate, total, after,
status, error.`,
			Example: "  unistore faults set upstream.latency upstream=aws delay=200ms",
			Args:    cobra.MinimumNArgs(1),
			RunE:    func(cmd *cobra.Command, args []string) error { return setFault(cmd, p, admin, args) },
		},
		&cobra.Command{
			Use: "clear [NAME]", Short: "End the faults of a name, or all", Args: cobra.MaximumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				path := faultsPath
				for _, name := range args {
					path += "/" + url.PathEscape(name)
				}
				return fail(admin.call(cmd.Context(), p, http.MethodDelete, path, nil, nil))
			},
		},
	)
	return cmd
}

func listFaults(cmd *cobra.Command, p process, admin *adminFlags) error {
	var answer struct {
		Faults []map[string]any `json:"faults"`
	}
	if err := admin.call(cmd.Context(), p, http.MethodGet, faultsPath, nil, &answer); err != nil {
		return fail(err)
	}
	if asJSON(cmd) {
		return fail(json.NewEncoder(p.out).Encode(answer.Faults))
	}
	if len(answer.Faults) == 0 {
		fmt.Fprintln(p.out, "no fault is active")
		return nil
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tFIRED\tMATCHED\tPARAMETERS")
	for _, f := range answer.Faults {
		var params []string
		for k, v := range f {
			if k != "name" && k != "fired" && k != "matched" {
				params = append(params, fmt.Sprintf("%s=%v", k, v))
			}
		}
		slices.Sort(params)
		fmt.Fprintf(w, "%v\t%v\t%v\t%s\n", f["name"], f["fired"], f["matched"], strings.Join(params, " "))
	}
	return fail(w.Flush())
}

func setFault(cmd *cobra.Command, p process, admin *adminFlags, args []string) error {
	params := map[string]string{}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || params[key] != "" {
			return fmt.Errorf("%q: write each PARAMETER=VALUE once", arg)
		}
		params[key] = value
	}
	if _, err := faults.Parse(args[0], params); err != nil {
		return err
	}
	var answer json.RawMessage
	err := admin.call(cmd.Context(), p, http.MethodPut, faultsPath+"/"+url.PathEscape(args[0]), params, &answer)
	if err == nil && asJSON(cmd) {
		_, err = fmt.Fprintln(p.out, string(answer))
	}
	return fail(err)
}
