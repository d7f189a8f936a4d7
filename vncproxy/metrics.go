package vncproxy

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gantry/internal/consoleapi"
)

// metrics are the proxy's figures on a Prometheus registry of its own.
type metrics struct {
	registry *prometheus.Registry
	down, up prometheus.Counter
	closed   *prometheus.CounterVec
	opening  prometheus.Histogram
}

func newMetrics(sessions *registry) *metrics {
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_vncproxy_bytes_total",
		Help: "Bytes of RFB passed on, by direction: down is from the guest to the browser.",
	}, []string{"direction"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		down:     bytes.WithLabelValues("down"),
		up:       bytes.WithLabelValues("up"),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gantry_vncproxy_closed_total",
			Help: "Consoles that ended or were refused, by reason; browser_left is the user's own doing.",
		}, []string{"reason"}),
		opening: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gantry_vncproxy_open_seconds",
			Help:    "Time from the browser's request until its console's pixels can flow.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	for _, reason := range append(consoleapi.Reasons(), reasonBrowserLeft) {
		m.closed.WithLabelValues(string(reason)) // so that a rate can be taken from the first one on
	}
	m.registry.MustRegister(bytes, m.closed, m.opening,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gantry_vncproxy_sessions",
			Help: "Consoles open now, those still opening included.",
		}, func() float64 { return float64(sessions.count()) }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Metrics serves the figures in Prometheus' text form. It is not part of Handler: figures are not for everybody.
func (p *Proxy) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}
