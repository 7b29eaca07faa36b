// Package devicetest is the conformance suite of device.Device: what every driver and every wrapper must do.
package devicetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"unistore/cache/device"
)

// Run tests the devices that open returns: each call gives an empty one.
func Run(t *testing.T, open func(t *testing.T) device.Device) {
	tests := []struct {
		name string
		run  func(t *testing.T, d device.Device)
	}{
		{"CreateOpenRemove", testLife},
		{"ReadWrite", testReadWrite},
		{"SharedFile", testShared},
		{"RemovedStaysReadable", testRemoved},
		{"Source", testSource},
		{"Allocated", testAllocated},
		{"Walk", testWalk},
		{"Free", testFree},
		{"Concurrent", testConcurrent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func create(t *testing.T, d device.Device, id uint64) device.File {
	t.Helper()
	f, err := d.Create(device.Ref{ID: id})
	if err != nil {
		t.Fatalf("Create(%x): %v", id, err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, f device.File, data []byte, off int64) {
	t.Helper()
	if n, err := f.WriteAt(data, off); n != len(data) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(data), off, n, err)
	}
}

func wantData(t *testing.T, f device.File, want []byte, off int64) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := f.ReadAt(got, off); n != len(want) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(got, want) {
		t.Errorf("ReadAt(%d bytes, %d) = %d, %v; equal %t", len(want), off, n, err, bytes.Equal(got, want))
	}
}

func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)*7 + byte(i>>8) + seed
	}
	return p
}

var ids = []uint64{0, 1, 255, 256, 1<<16 + 1, 0x0123456789abcdef, 1<<64 - 1}

func testLife(t *testing.T, d device.Device) {
	for _, id := range ids {
		if _, err := d.Open(device.Ref{ID: id}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%x) of none: %v", id, err)
		}
		if err := d.Remove(id); err != nil {
			t.Errorf("Remove(%x) of none: %v", id, err)
		}
		write(t, create(t, d, id), pattern(100, byte(id)), 0)
		if _, err := d.Create(device.Ref{ID: id}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("second Create(%x): %v", id, err)
		}
	}
	for _, id := range ids {
		f, err := d.Open(device.Ref{ID: id})
		if err != nil {
			t.Fatalf("Open(%x): %v", id, err)
		}
		wantData(t, f, pattern(100, byte(id)), 0)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Remove(id); err != nil {
			t.Errorf("Remove(%x): %v", id, err)
		}
		if _, err := d.Open(device.Ref{ID: id}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%x) of a removed one: %v", id, err)
		}
	}
}

func testReadWrite(t *testing.T, d device.Device) {
	f := create(t, d, 1)
	if n, err := f.ReadAt(make([]byte, 1), 0); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt of an empty file = %d, %v", n, err)
	}
	late := pattern(70_000, 1)
	write(t, f, late, 200_001) // a hole before it
	wantData(t, f, make([]byte, 200_001), 0)
	wantData(t, f, late, 200_001)
	early := pattern(10_000, 2)
	write(t, f, early, 4090)
	wantData(t, f, early, 4090)
	wantData(t, f, late, 200_001)
	write(t, f, pattern(50, 3), 4100)
	wantData(t, f, pattern(50, 3), 4100)
	wantData(t, f, early[:10], 4090)
	wantData(t, f, early[60:], 4150)
	got := make([]byte, 100)
	if n, err := f.ReadAt(got, 270_001-30); n != 30 || !errors.Is(err, io.EOF) || !bytes.Equal(got[:30], late[len(late)-30:]) {
		t.Errorf("ReadAt across the end = %d, %v", n, err)
	}
}

func testShared(t *testing.T, d device.Device) {
	a := create(t, d, 1)
	b, err := d.Open(device.Ref{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	write(t, b, pattern(10, 1), 5)
	wantData(t, a, pattern(10, 1), 5)
}

func testRemoved(t *testing.T, d device.Device) {
	f := create(t, d, 1)
	write(t, f, pattern(10_000, 1), 0)
	if err := d.Remove(1); err != nil {
		t.Fatal(err)
	}
	wantData(t, f, pattern(10_000, 1), 0)
	write(t, f, pattern(10, 2), 20_000)
	again := create(t, d, 1)
	write(t, again, pattern(10, 3), 0)
	wantData(t, f, pattern(10_000, 1), 0)
}

func testSource(t *testing.T, d device.Device) {
	f := create(t, d, 1)
	write(t, f, pattern(1000, 1), 0)
	src, err := f.Source()
	if err != nil || src == nil {
		if err != nil {
			t.Error(err)
		}
		return // the driver has none
	}
	got := make([]byte, 900)
	if _, err := src.ReadAt(got, 100); err != nil || !bytes.Equal(got, pattern(1000, 1)[100:]) {
		t.Errorf("%v", err)
	}
}

func testAllocated(t *testing.T, d device.Device) {
	f := create(t, d, 1)
	write(t, f, pattern(64<<10, 1), 640<<10)
	write(t, f, pattern(100, 1), 960<<10)
	if n, err := f.Allocated(); n != 68<<10 || err != nil {
		t.Errorf("Allocated = %d, %v; want a page of 64 KiB and one of 4 KiB", n, err)
	}
}

func testWalk(t *testing.T, d device.Device) {
	walk := func() (got []uint64) {
		if err := d.Walk(func(id uint64) error { got = append(got, id); return nil }); err != nil {
			t.Error(err)
		}
		slices.Sort(got)
		return got
	}
	if got := walk(); len(got) != 0 {
		t.Errorf("%x in an empty device", got)
	}
	for _, id := range ids {
		create(t, d, id)
	}
	if got := walk(); !slices.Equal(got, ids) {
		t.Errorf("%x, want %x", got, ids)
	}
	stop := errors.New("stop")
	n := 0
	if err := d.Walk(func(uint64) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d calls, %v", n, err)
	}
	// Removing while walking is what the sweep does.
	if err := d.Walk(d.Remove); err != nil {
		t.Error(err)
	}
	if got := walk(); len(got) != 0 {
		t.Errorf("%x after all were removed", got)
	}
}

func testFree(t *testing.T, d device.Device) {
	if n, err := d.Free(); n <= 0 || err != nil {
		t.Errorf("Free = %d, %v", n, err)
	}
}

func testConcurrent(t *testing.T, d device.Device) {
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			for round := range 20 {
				f, err := d.Create(device.Ref{ID: i})
				if err != nil {
					t.Error(err)
					return
				}
				data := pattern(5000, byte(i)+byte(round))
				got := make([]byte, len(data))
				if _, err := f.WriteAt(data, 3); err != nil {
					t.Error(err)
				}
				if _, err := f.ReadAt(got, 3); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%v, equal %t", err, bytes.Equal(got, data))
				}
				if err := errors.Join(d.Remove(i), f.Close()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
