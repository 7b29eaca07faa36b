package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"unistore/config"
	"unistore/gateway"
)

func newServe(p process) *cobra.Command {
	var enableFaults bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGTERM or SIGINT, which lets running requests finish (a second one does not).
SIGHUP reads the configuration again: log level and credentials change at once, the rest is named.
Without a configuration it serves a local directory, see the start message.`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd, p)
	cmd.Flags().BoolVar(&enableFaults, "enable-faults", false, "allow faults to be injected: for tests only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts, err := flags.options(cmd, p)
		if err != nil {
			return err
		}
		opts.EnableFaults = enableFaults
		if asJSON(cmd) {
			opts.Flags["log.format"] = "json"
		}
		return fail(serve(cmd.Context(), opts, p))
	}
	return cmd
}

// serve runs a gateway until a signal ends it.
func serve(ctx context.Context, opts config.LoadOptions, p process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	cfg, err := config.Load(opts)
	if err != nil {
		return err
	}
	log := newLogger(cfg.Log, p.err)
	for _, w := range cfg.Warnings {
		log.Warn().Msg(w)
	}
	memory := processMemory(cfg.Limits.Memory)
	if limit := limitMemory(memory, p); limit > 0 {
		log.Debug().Int64("bytes", limit).Msg("memory limit of the garbage collector")
	}
	g, err := gateway.New(ctx, cfg, gateway.Options{Log: log, Version: version, Memory: memory})
	if err != nil {
		return err
	}
	announce(cfg, g.Addresses(), g.AdminAddress(), p)

	var watching sync.WaitGroup
	defer watching.Wait()
	ended := make(chan struct{})
	defer close(ended)
	w := &watcher{opts: opts, cfg: cfg, gateway: g, log: log, stop: cancel, exit: func() { os.Exit(exitFailed) }}
	watching.Go(func() { w.watch(signals, ended) })
	return g.Run(ctx)
}

// reloader is what the watcher needs of a gateway.
type reloader interface {
	Reload(cfg *config.Config) (changed, ignored []string, err error)
}

// watcher acts on signals while the gateway runs.
type watcher struct {
	opts    config.LoadOptions
	cfg     *config.Config // in force
	gateway reloader
	log     zerolog.Logger
	stop    context.CancelFunc // drains
	exit    func()             // does not wait for anything
}

func (w *watcher) watch(signals <-chan os.Signal, ended <-chan struct{}) {
	stopping := false
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				w.reload()
			case stopping:
				w.log.Warn().Stringer("signal", s).Msg("second signal: leaving at once")
				w.exit()
				return
			default:
				stopping = true
				w.log.Info().Stringer("signal", s).Msg("stopping; a second signal leaves at once")
				w.stop()
			}
		}
	}
}

// reload reads the configuration again. A bad one changes nothing.
func (w *watcher) reload() {
	cfg, err := config.Load(w.opts)
	if err != nil {
		w.log.Error().Err(err).Msg("the configuration is not valid; nothing has changed")
		return
	}
	changed, ignored, err := w.gateway.Reload(cfg)
	if err != nil {
		w.log.Error().Err(err).Msg("the configuration could not be reloaded")
		return
	}
	if cfg.Log.Level != w.cfg.Log.Level {
		setLevel(cfg.Log.Level)
		changed = append(changed, "log.level")
	}
	if cfg.Log.Format != w.cfg.Log.Format {
		ignored = append(ignored, "log.format")
	}
	w.cfg.Log.Level = cfg.Log.Level
	slices.Sort(changed)
	w.log.Info().Strs("changed", changed).Msg("configuration reloaded")
	if len(ignored) > 0 {
		w.log.Warn().Strs("keys", ignored).Msg("these keys change only with a restart")
	}
}

// newLogger logs to out, in JSON unless it is a terminal or the configuration says so.
func newLogger(cfg config.Log, out io.Writer) zerolog.Logger {
	setLevel(cfg.Level)
	zerolog.TimeFieldFormat = time.RFC3339Nano
	if cfg.Format == "console" || cfg.Format == "" && isTerminal(out) {
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.TimeOnly, NoColor: !isTerminal(out)}
	}
	return zerolog.New(zerolog.SyncWriter(out)).With().Timestamp().Logger()
}

// setLevel sets the level of every logger of the process.
func setLevel(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil {
		level = zerolog.InfoLevel
	}
	zerolog.SetGlobalLevel(level)
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// announce prints where the gateway is and what to paste for awscli; for machines it is in the log.
func announce(cfg *config.Config, addresses []string, admin string, p process) {
	if cfg.Log.Format == "json" {
		return
	}
	fmt.Fprint(p.out, startMessage(cfg, addresses, admin, p))
}
