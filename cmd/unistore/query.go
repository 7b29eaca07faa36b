package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newQuery(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "query",
		Short: "Look at the queries that are registered with a running gateway, release them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("a command is missing: list, show or release") },
	}
	admin := addAdminFlags(cmd, p)
	cmd.AddCommand(&cobra.Command{Use: "list", Short: "List registered queries", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return fail(queryList(cmd, p, admin)) }})
	one := func(use, short, method string) {
		cmd.AddCommand(&cobra.Command{Use: use + " ID", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				var s queryState
				if err := admin.call(cmd.Context(), p, method, queriesPath+"/"+url.PathEscape(args[0]), nil, &s); err != nil {
					return fail(err)
				}
				return fail(queryShow(cmd, p, s))
			}})
	}
	one("show", "Print the progress and the pins of a query", http.MethodGet)
	one("release", "End a query: its pins, its credentials and what is queued for it", http.MethodDelete)
	return cmd
}

func queryList(cmd *cobra.Command, p process, admin *adminFlags) error {
	var list struct {
		Queries []queryState `json:"queries"`
	}
	if err := admin.call(cmd.Context(), p, http.MethodGet, queriesPath, nil, &list); err != nil {
		return err
	}
	if asJSON(cmd) {
		return json.NewEncoder(p.out).Encode(list)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tACCESS KEY\tSTATE\tOBJECTS\tBYTES\tTHERE\tPINNED\tERRORS\tEXPIRES")
	for _, s := range list.Queries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\n", s.ID, s.AccessKey, s.State, s.Files, size(s.Total), size(s.Resident),
			size(s.Pinned), s.Errors, s.Expires.Local().Format(time.DateTime))
	}
	return w.Flush()
}

func queryShow(cmd *cobra.Command, p process, s queryState) error {
	if asJSON(cmd) {
		return json.NewEncoder(p.out).Encode(s)
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	line("query", s.ID)
	if s.AccessKey != "" {
		line("access key", s.AccessKey)
	}
	line("state", s.State)
	line("objects", fmt.Sprint(s.Files))
	line("there", fmt.Sprintf("%s of %s%s", size(s.Resident), size(s.Total), share(s.Resident, s.Total)))
	line("under way", size(s.Inflight))
	line("pinned", fmt.Sprintf("%s (%s)", size(s.Pinned), s.Pin))
	line("errors", fmt.Sprint(s.Errors))
	line("expires", s.Expires.Local().Format(time.DateTime))
	if err := w.Flush(); err != nil {
		return err
	}
	for _, f := range s.Failures {
		if _, err := fmt.Fprintf(p.out, "failed: s3://%s/%s: %s\n", f.File.Bucket, f.File.Key, f.Reason); err != nil {
			return err
		}
	}
	return nil
}
