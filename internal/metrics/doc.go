// Package metrics is the one place that knows which metrics library is used:
// github.com/armon/go-metrics, or github.com/hashicorp/go-metrics with the build
// tag hashicorpmetrics. Both emit through the library's global instance.
package metrics
