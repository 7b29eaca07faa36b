// Command emulator serves one of UniStore's emulators of a cloud's object store on loopback, for clients that
// are not Go. It is test support, and not the vendor's service.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"unistore/upstream/emulator"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var (
		name   = flag.String("dialect", "oss", "oss, obs or cos")
		listen = flag.String("listen", "127.0.0.1:0", "address")
		access = flag.String("access", "", "access key")
		secret = flag.String("secret", "", "secret key")
		region = flag.String("region", "", "region that signatures must name; empty: any")
		spaces = flag.Int("complete-spaces", 0, "spaces that CompleteMultipartUpload sends before its result")
	)
	flag.Parse()
	dialect, err := emulator.ParseDialect(*name)
	if err != nil {
		return err
	}
	quirks := emulator.DefaultQuirks(dialect)
	quirks.CompleteSpaces = *spaces
	s, err := emulator.Start(*listen, emulator.Config{
		Dialect: dialect, Credentials: map[string]string{*access: *secret}, Region: *region, Quirks: &quirks,
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s emulator on %s\n", dialect, s.Addr)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return s.Close()
}
