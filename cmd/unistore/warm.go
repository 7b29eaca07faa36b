package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	queriesPath = "/_unistore/v1/queries"
	// warmPoll is how often warm --wait looks.
	warmPoll = 200 * time.Millisecond
)

// warmFlags are those of warm.
type warmFlags struct {
	ranges               []string
	query, pin, priority string
	ttl, deadline        time.Duration
	wait                 bool
}

// warmFile is one file of a registration.
type warmFile struct {
	Bucket string   `json:"bucket"`
	Key    string   `json:"key,omitempty"`
	Prefix *string  `json:"prefix,omitempty"`
	Ranges []string `json:"ranges,omitempty"`
}

// warmAnswer is the answer to POST /queries.
type warmAnswer struct {
	ID       string `json:"id"`
	Accepted struct {
		Files int   `json:"files"`
		Bytes int64 `json:"bytes"`
	} `json:"accepted"`
	Resident   int64      `json:"resident_bytes"`
	Rejections int        `json:"rejected_count"`
	Rejected   []rejected `json:"rejected"` // the first of them
}

type rejected struct {
	File struct {
		Bucket string `json:"bucket"`
		Key    string `json:"key"`
	} `json:"file"`
	Reason string `json:"reason"`
}

// queryState is one registered query.
type queryState struct {
	ID          string     `json:"id"`
	AccessKey   string     `json:"access_key,omitempty"`
	State       string     `json:"state"`
	Files       int        `json:"files"`
	Total       int64      `json:"bytes_total"`
	Resident    int64      `json:"bytes_resident"`
	Pinned      int64      `json:"bytes_pinned"`
	Inflight    int64      `json:"bytes_inflight"`
	Errors      int        `json:"errors"`
	Failures    []rejected `json:"failures,omitempty"`
	Pin         string     `json:"pin"`
	Credentials bool       `json:"credentials"`
	Expires     time.Time  `json:"expires_at"`
}

func newWarm(p process) *cobra.Command {
	var f warmFlags
	cmd := &cobra.Command{
		Use:   "warm s3://BUCKET/PREFIX...",
		Short: "Have objects fetched into the cache of a running gateway",
		Long: "Registers a query whose objects are fetched ahead: all below a prefix, or, with --range, ranges of single objects.\n" +
			"With --wait it shows the progress and fails when something could not be fetched.",
		Args: cobra.MinimumNArgs(1),
	}
	admin := addAdminFlags(cmd, p)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.ranges, "range", nil, "FIRST-LAST, FIRST- or -LENGTH of each object; the arguments are keys then")
	flags.StringVar(&f.query, "query", "", "id of the query (default: a new one)")
	flags.StringVar(&f.pin, "pin", "none", "hard, soft or none: pin for the query, until it is released or expires")
	flags.StringVar(&f.priority, "priority", "normal", "urgent, normal or background")
	flags.DurationVar(&f.ttl, "ttl", 10*time.Minute, "how long the registration lives")
	flags.DurationVar(&f.deadline, "deadline", 0, "from now: when the query begins to read; the earliest goes first (default: not known)")
	flags.BoolVar(&f.wait, "wait", false, "wait until all is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, err := warmFiles(args, f.ranges)
		if err != nil {
			return err
		}
		if f.ttl < time.Second {
			return errors.New("--ttl is at least 1s")
		}
		if f.deadline != 0 && f.deadline < time.Second {
			return errors.New("--deadline is at least 1s")
		}
		return fail(warm(cmd, p, admin, f, files))
	}
	return cmd
}

// warmFiles makes files of s3://BUCKET/KEY arguments.
func warmFiles(args, ranges []string) ([]warmFile, error) {
	var files []warmFile
	for _, arg := range args {
		rest, ok := strings.CutPrefix(arg, "s3://")
		bucket, key, _ := strings.Cut(rest, "/")
		if !ok || bucket == "" {
			return nil, fmt.Errorf("%q is not s3://BUCKET/PREFIX", arg)
		}
		f := warmFile{Bucket: bucket, Prefix: &key}
		if len(ranges) > 0 {
			if key == "" {
				return nil, fmt.Errorf("%q names no object; --range is about single objects", arg)
			}
			f = warmFile{Bucket: bucket, Key: key, Ranges: ranges}
		}
		files = append(files, f)
	}
	return files, nil
}

func warm(cmd *cobra.Command, p process, admin *adminFlags, f warmFlags, files []warmFile) error {
	body := map[string]any{"ttl": int64(f.ttl / time.Second), "pin": f.pin, "priority": f.priority, "files": files}
	if f.deadline > 0 {
		body["deadline"] = f.deadline.String()
	}
	if f.query != "" {
		body["id"] = f.query
	}
	var a warmAnswer
	if err := admin.call(cmd.Context(), p, http.MethodPost, queriesPath, body, &a); err != nil {
		return err
	}
	for _, r := range a.Rejected {
		fmt.Fprintf(p.err, "rejected: s3://%s/%s: %s\n", r.File.Bucket, r.File.Key, r.Reason)
	}
	if more := a.Rejections - len(a.Rejected); more > 0 {
		fmt.Fprintf(p.err, "rejected: %d more\n", more)
	}
	if !f.wait {
		if asJSON(cmd) {
			return json.NewEncoder(p.out).Encode(a)
		}
		_, err := fmt.Fprintf(p.out, "query %s: %s, %s, of which %s are there already\n",
			a.ID, count(a.Accepted.Files, "object"), size(a.Accepted.Bytes), size(a.Resident))
		if err == nil && len(a.Rejected) > 0 {
			return errQuiet
		}
		return err
	}
	began := time.Now()
	s, err := followWarm(cmd.Context(), p, admin, a.ID)
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		err = json.NewEncoder(p.out).Encode(s)
	} else {
		_, err = fmt.Fprintf(p.out, "query %s: %s of %s in %s, %s, took %s\n", s.ID, size(s.Resident), size(s.Total), count(s.Files, "object"),
			count(s.Errors, "error"), time.Since(began).Round(10*time.Millisecond))
	}
	for _, r := range s.Failures {
		fmt.Fprintf(p.err, "failed: s3://%s/%s: %s\n", r.File.Bucket, r.File.Key, r.Reason)
	}
	if err == nil && (s.Errors > 0 || len(a.Rejected) > 0 || s.State != "ready") {
		return errQuiet
	}
	return err
}

// followWarm shows a query's progress until it is no longer warming.
func followWarm(ctx context.Context, p process, admin *adminFlags, id string) (queryState, error) {
	show := &progress{out: p.err, terminal: isTerminal(p.err), now: time.Now}
	defer show.end()
	began, first := time.Now(), int64(-1)
	t := time.NewTicker(warmPoll)
	defer t.Stop()
	for {
		var s queryState
		if err := admin.call(ctx, p, http.MethodGet, queriesPath+"/"+url.PathEscape(id), nil, &s); err != nil {
			return s, err
		}
		if s.State != "warming" {
			return s, nil
		}
		if first < 0 {
			first = s.Resident
		}
		show.update(s.Resident, s.Total, warmNote(s, s.Resident-first, time.Since(began)))
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-t.C:
		}
	}
}

// warmNote says what stands behind the bar, when n bytes came in took.
func warmNote(s queryState, n int64, took time.Duration) string {
	note := fmt.Sprintf(" %s of %s, %s", size(s.Resident), size(s.Total), count(s.Files, "object"))
	if n > 0 && took > 0 {
		rate := float64(n) / took.Seconds()
		left := time.Duration(float64(s.Total-s.Resident) / rate * float64(time.Second))
		note += fmt.Sprintf(", %s/s, %s left", size(int64(rate)), left.Round(time.Second))
	}
	if s.Errors > 0 {
		note += ", " + count(s.Errors, "error")
	}
	return note
}
