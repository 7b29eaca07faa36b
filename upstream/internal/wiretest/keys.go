package wiretest

import (
	"errors"
	"strings"

	"unistore/upstream"
	"unistore/upstream/emulator"
)

func dotKeys(e *env) {
	for _, key := range []string{".", "..", "a/..", "a/../..", "../" + e.h.Bucket} {
		before := e.emu.Requests(emulator.DeleteBucket) + e.emu.Requests(emulator.CreateBucket)
		err := e.b.Delete(e.Context(), e.loc(key), upstream.DeleteOptions{})
		_, err2 := e.b.Put(e.Context(), e.loc(key), request("x"))
		if err2 == nil { // then it is a key like any other
			if got, rerr := e.read(key, upstream.OpenOptions{}); got != "x" || rerr != nil || err != nil {
				e.Errorf("%q: %q, %v, %v", key, got, rerr, err)
			}
		} else if !errors.Is(err, upstream.InvalidKey) || !errors.Is(err2, upstream.InvalidKey) {
			e.Errorf("%q: %v, %v", key, err, err2)
		}
		if e.emu.Requests(emulator.DeleteBucket)+e.emu.Requests(emulator.CreateBucket) != before {
			e.Fatalf("%q became a request about the bucket", key)
		}
	}
}

func wrongKeys(e *env) {
	e.put("k", "x")
	for what, keys := range map[string][2]string{"secret": {accessKey, secretKey + "-not"}, "access key": {"AKNOBODY", secretKey}} {
		b := e.h.Open(e.T, e.h.endpoint("http", e.emu.Addr), keys[0], keys[1], &e.log)
		for op, call := range map[string]func() error{
			"Open": func() error { _, err := b.Open(e.Context(), e.loc("k"), upstream.OpenOptions{}); return err },
			"Put":  func() error { _, err := b.Put(e.Context(), e.loc("k"), request("x")); return err },
			"List": func() error {
				_, err := b.List(e.Context(), upstream.ListRequest{Bucket: e.h.Bucket, MaxKeys: 1})
				return err
			},
		} {
			err := call()
			if got := want(e.T, op, err, upstream.Access); !got.Credentials || got.RequestID == "" {
				e.Errorf("wrong %s, %s: %+v", what, op, got)
			}
			if strings.Contains(err.Error(), secretKey) {
				e.Errorf("the error tells the secret: %v", err)
			}
		}
		if err := b.Close(); err != nil {
			e.Error(err)
		}
	}
	if text := e.log.String(); strings.Contains(text, secretKey) || !strings.Contains(text, "refuses the configured credentials") {
		e.Errorf("the log: %s", text)
	}
}
