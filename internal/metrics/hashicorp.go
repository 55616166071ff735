//go:build hashicorpmetrics

package metrics

import "github.com/hashicorp/go-metrics"

// Label is a name and a value that qualify a metric.
type Label = metrics.Label

var (
	IncrCounter            = metrics.IncrCounter
	IncrCounterWithLabels  = metrics.IncrCounterWithLabels
	SetGauge               = metrics.SetGauge
	AddSample              = metrics.AddSample
	MeasureSince           = metrics.MeasureSince
	MeasureSinceWithLabels = metrics.MeasureSinceWithLabels
)
