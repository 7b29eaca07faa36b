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

const (
	uploadsPath      = "/_unistore/v1/uploads"
	uploadsAbortPath = "/_unistore/v1/uploads/abort"
	// maxUploads is the most that GET /uploads lists.
	maxUploads = 10_000
)

// uploadScope is which uploads are meant.
type uploadScope struct {
	id, bucket, prefix string
	older              time.Duration
	hasOlder           bool // the flag was given
}

func (s uploadScope) check() error {
	switch {
	case s.prefix != "" && s.bucket == "":
		return errors.New("--prefix needs --bucket")
	case s.older < 0:
		return errors.New("--older-than must not be negative")
	}
	return nil
}

func newUploads(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uploads",
		Short: "List the unfinished uploads that a running gateway knows, abort them",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("a command is missing: list or abort") },
	}
	admin := addAdminFlags(cmd, p)
	var scope uploadScope
	cmd.PersistentFlags().StringVar(&scope.id, "id", "", "only the upload of this id, as clients see it")
	cmd.PersistentFlags().StringVar(&scope.bucket, "bucket", "", "only uploads to this bucket, as clients name it")
	cmd.PersistentFlags().StringVar(&scope.prefix, "prefix", "", "only keys that start with this; needs --bucket")
	cmd.PersistentFlags().DurationVar(&scope.older, "older-than", 0, "only uploads that were begun longer ago, such as 24h")
	sub := func(use, short, long string, run func(*cobra.Command) error) {
		cmd.AddCommand(&cobra.Command{Use: use, Short: short, Long: long, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				scope.hasOlder = cmd.Flags().Changed("older-than")
				if err := scope.check(); err != nil {
					return err
				}
				return run(cmd)
			}})
	}
	sub("list", "List unfinished uploads: those of clients, and those that the gateway has made for a PUT", "",
		func(cmd *cobra.Command) error { return fail(listUploads(cmd, p, admin, scope)) })
	sub("abort", "Abort unfinished uploads; their parts are removed",
		"Aborts the upload of --id, or all that --bucket, --prefix and --older-than select.\nWhat belongs to a PUT that is under way is left alone. Fails when an upload could not be aborted.",
		func(cmd *cobra.Command) error {
			if scope.id == "" && scope.bucket == "" && !scope.hasOlder {
				return errors.New("say which uploads: --id, --bucket or --older-than (0s for all)")
			}
			return fail(abortUploads(cmd, p, admin, scope))
		})
	return cmd
}

func listUploads(cmd *cobra.Command, p process, admin *adminFlags, scope uploadScope) error {
	query := url.Values{"limit": {fmt.Sprint(maxUploads)}}
	for name, value := range map[string]string{"id": scope.id, "bucket": scope.bucket, "prefix": scope.prefix} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if scope.older > 0 {
		query.Set("older_than", scope.older.String())
	}
	var raw json.RawMessage
	if err := admin.call(cmd.Context(), p, http.MethodGet, uploadsPath+"?"+query.Encode(), nil, &raw); err != nil {
		return err
	}
	if asJSON(cmd) {
		_, err := fmt.Fprintln(p.out, string(raw))
		return err
	}
	var answer struct {
		Uploads []struct {
			Kind, Bucket, Key, ID, State string
			Age                          int64 `json:"age_seconds"`
			Parts                        int
			Bytes                        int64
		}
		More bool
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return fmt.Errorf("the admin listener's answer is not the one of GET /uploads: %w", err)
	}
	if len(answer.Uploads) == 0 {
		_, err := fmt.Fprintln(p.out, "no unfinished uploads")
		return err
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AGE\tKIND\tSTATE\tPARTS\tSIZE\tOBJECT\tID")
	for _, u := range answer.Uploads {
		fmt.Fprintf(w, "%v\t%s\t%s\t%d\t%s\ts3://%s/%s\t%s\n", time.Duration(u.Age)*time.Second, u.Kind, u.State, u.Parts, size(u.Bytes),
			u.Bucket, printable(u.Key), u.ID)
	}
	if answer.More {
		fmt.Fprintf(w, "and more; the first %d are shown\n", len(answer.Uploads))
	}
	return w.Flush()
}

// printable is a key without what could confuse a terminal or a table.
func printable(key string) string {
	quoted := fmt.Sprintf("%q", key)
	if inner := quoted[1 : len(quoted)-1]; inner != key {
		return quoted
	}
	return key
}

func abortUploads(cmd *cobra.Command, p process, admin *adminFlags, scope uploadScope) error {
	what := map[string]any{}
	for name, value := range map[string]string{"id": scope.id, "bucket": scope.bucket, "prefix": scope.prefix} {
		if value != "" {
			what[name] = value
		}
	}
	if scope.hasOlder {
		what["older_than"] = scope.older.String()
	}
	var answer struct {
		Aborted int `json:"aborted"`
		Skipped int `json:"skipped"`
		Failed  []struct {
			Bucket  string `json:"bucket"`
			Key     string `json:"key"`
			ID      string `json:"id"`
			Message string `json:"message"`
		} `json:"failed,omitempty"`
	}
	if err := admin.callWithin(cmd.Context(), p, dropTimeout, adminCall{http.MethodPost, uploadsAbortPath, what}, &answer); err != nil {
		return err
	}
	if asJSON(cmd) {
		if err := json.NewEncoder(p.out).Encode(answer); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(p.out, "aborted %s", count(answer.Aborted, "upload"))
		if answer.Skipped > 0 {
			fmt.Fprintf(p.out, "; left %d alone that belong to a PUT under way or have no id yet", answer.Skipped)
		}
		fmt.Fprintln(p.out)
	}
	for _, f := range answer.Failed {
		fmt.Fprintf(p.err, "unistore: s3://%s/%s: %s\n", f.Bucket, printable(f.Key), f.Message)
	}
	if len(answer.Failed) > 0 {
		return errQuiet
	}
	return nil
}
