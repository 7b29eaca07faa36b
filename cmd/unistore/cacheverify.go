package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// verifyLine is one line of the answer to POST /cache/verify: progress, and in the end a result or an error.
type verifyLine struct {
	Done   int64         `json:"done"`
	Total  int64         `json:"total"`
	Bad    int64         `json:"bad"`
	Result *verifyResult `json:"result"`
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// verifyResult counts what was checked; corrupt and unreadable blocks were dropped.
type verifyResult struct {
	Blocks     int64 `json:"blocks"`
	Pages      int64 `json:"pages"`
	Bytes      int64 `json:"bytes"`
	Corrupt    int64 `json:"corrupt"`
	Unreadable int64 `json:"unreadable"`
	Skipped    int64 `json:"skipped"`
}

func cacheVerify(cmd *cobra.Command, p process, admin *adminFlags, scope cacheScope) error {
	what := map[string]any{}
	if scope.bucket != "" {
		what["bucket"], what["prefix"] = scope.bucket, scope.prefix
	}
	resp, err := admin.send(cmd.Context(), p, adminCall{http.MethodPost, verifyPath, what})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("the admin listener's answer was cut: %w", err)
		}
		return decodeAnswer(resp.StatusCode, text, nil)
	}
	result, err := followVerify(resp.Body, &progress{out: p.err, terminal: isTerminal(p.err), now: time.Now})
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		err = json.NewEncoder(p.out).Encode(result)
	} else {
		_, err = fmt.Fprintf(p.out, "%s in %s checked; dropped: %d corrupt, %d unreadable\n",
			size(result.Bytes), count(int(result.Blocks), "block"), result.Corrupt, result.Unreadable)
	}
	if err == nil && result.Corrupt+result.Unreadable > 0 {
		return errQuiet
	}
	return err
}

// followVerify shows the progress that comes in lines of JSON, and returns the result that ends them.
func followVerify(lines io.Reader, show *progress) (verifyResult, error) {
	defer show.end()
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		var line verifyLine
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return verifyResult{}, fmt.Errorf("the admin listener's answer is no JSON: %w", err)
		}
		switch {
		case line.Error != nil:
			return verifyResult{}, errors.New(line.Error.Message)
		case line.Result != nil:
			return *line.Result, nil
		}
		note := ""
		if line.Bad > 0 {
			note = fmt.Sprintf(", %d bad", line.Bad)
		}
		show.update(line.Done, line.Total, note)
	}
	if err := scanner.Err(); err != nil {
		return verifyResult{}, fmt.Errorf("the admin listener's answer was cut: %w", err)
	}
	return verifyResult{}, errors.New("the admin listener's answer was cut: the verification was not finished")
}

// progress shows how far long work is: a bar on a terminal, else a line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	last  time.Time // of a line
	shown bool      // a bar stands on the terminal's line
}

const (
	barWidth = 40
	// lineEvery is how often a line is written where there is no terminal.
	lineEvery = 5 * time.Second
)

func (b *progress) update(done, total int64, note string) {
	if total <= 0 {
		return
	}
	percent := done * 100 / total
	if b.terminal {
		filled := int(done * barWidth / total)
		fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %3d %%%s", strings.Repeat("#", filled), strings.Repeat(" ", barWidth-filled), percent, note)
		b.shown = true
		return
	}
	if at := b.now(); at.Sub(b.last) >= lineEvery {
		fmt.Fprintf(b.out, "%3d %%%s\n", percent, note)
		b.last = at
	}
}

// end leaves the terminal's line free.
func (b *progress) end() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
		b.shown = false
	}
}
