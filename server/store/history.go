package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"gantry/server/broker"
)

type historyRow struct {
	Subject    int   `gorm:"primaryKey;autoIncrement:false"`
	Bucket     int64 `gorm:"primaryKey;autoIncrement:false"`
	Resolution int   `gorm:"primaryKey;autoIncrement:false"`
	Slot       int   `gorm:"primaryKey;autoIncrement:false"`
	At         micros
	Samples    []byte
}

func (historyRow) TableName() string { return "history" }

const (
	// bucketIDs is how many ids share a row.
	bucketIDs = 256
	// historyChunk bounds the rows of a statement: 16 KiB each at most.
	historyChunk = 200
	// historyVersion begins each value.
	historyVersion = 1
)

// packedSample is a sample as it is stored, little-endian.
type packedSample struct {
	ID      uint8 // in its bucket
	Values  [12]float32
	Maximum [3]float32
}

func pack(samples []broker.HistorySample) ([]byte, error) {
	var buffer bytes.Buffer
	buffer.WriteByte(historyVersion)
	for _, s := range samples {
		packed := packedSample{
			ID: uint8(s.ID % bucketIDs), Maximum: [3]float32{s.MaxCPU, s.MaxMemory, s.MaxDisk},
			Values: [12]float32{
				s.CPU.Average, s.CPU.Max, s.Memory.Average, s.Memory.Max, s.NetIn.Average, s.NetIn.Max, s.NetOut.Average, s.NetOut.Max,
				s.DiskRead.Average, s.DiskRead.Max, s.DiskWrite.Average, s.DiskWrite.Max,
			},
		}
		if err := binary.Write(&buffer, binary.LittleEndian, packed); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), nil
}

var errHistoryUnreadable = errors.New("stored samples can't be read")

func unpack(bucket int64, text []byte) ([]broker.HistorySample, error) {
	size := binary.Size(packedSample{})
	if len(text) == 0 || text[0] != historyVersion || (len(text)-1)%size != 0 {
		return nil, errHistoryUnreadable
	}
	packed := make([]packedSample, (len(text)-1)/size)
	if err := binary.Read(bytes.NewReader(text[1:]), binary.LittleEndian, packed); err != nil {
		return nil, errHistoryUnreadable
	}
	samples := make([]broker.HistorySample, len(packed))
	for i, p := range packed {
		v := p.Values
		samples[i] = broker.HistorySample{
			ID: bucket*bucketIDs + int64(p.ID), MaxCPU: p.Maximum[0], MaxMemory: p.Maximum[1], MaxDisk: p.Maximum[2],
			CPU: broker.Measure{Average: v[0], Max: v[1]}, Memory: broker.Measure{Average: v[2], Max: v[3]}, NetIn: broker.Measure{Average: v[4], Max: v[5]},
			NetOut: broker.Measure{Average: v[6], Max: v[7]}, DiskRead: broker.Measure{Average: v[8], Max: v[9]}, DiskWrite: broker.Measure{Average: v[10], Max: v[11]},
		}
	}
	return samples, nil
}

func slotOf(at time.Time, step time.Duration) int {
	return int(at.Unix() / int64(step.Seconds()) % broker.HistorySlots)
}

func (s *session) SaveHistory(ctx context.Context, subject broker.HistorySubject, step time.Duration, at time.Time, samples []broker.HistorySample) error {
	rows, err := historyRows(subject, step, at, samples)
	if err != nil {
		return broker.Wrap(err, "pack samples")
	}
	for chunk := range slices.Chunk(rows, historyChunk) {
		err := s.recordOne(ctx, "store samples", func(db *gorm.DB) error { return upsertHistory(db, chunk) })
		if err != nil {
			return err
		}
	}
	return nil
}

func upsertHistory(db *gorm.DB, rows []historyRow) error {
	return db.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "subject"}, {Name: "bucket"}, {Name: "resolution"}, {Name: "slot"}},
		DoUpdates: clause.AssignmentColumns([]string{"at", "samples"}),
	}).Create(&rows).Error
}

func historyRows(subject broker.HistorySubject, step time.Duration, at time.Time, samples []broker.HistorySample) ([]historyRow, error) {
	sorted := slices.SortedFunc(slices.Values(samples), func(a, b broker.HistorySample) int { return cmp.Compare(a.ID, b.ID) })
	var rows []historyRow
	for len(sorted) > 0 {
		bucket := sorted[0].ID / bucketIDs
		end := slices.IndexFunc(sorted, func(each broker.HistorySample) bool { return each.ID/bucketIDs != bucket })
		if end < 0 {
			end = len(sorted)
		}
		packed, err := pack(sorted[:end])
		if err != nil {
			return nil, err
		}
		rows = append(rows, historyRow{
			Subject: int(subject), Bucket: bucket, Resolution: int(step.Seconds()), Slot: slotOf(at, step), At: fromTime(at), Samples: packed,
		})
		sorted = sorted[end:]
	}
	return rows, nil
}

func (s *session) ReadHistory(ctx context.Context, subject broker.HistorySubject, id int64, step time.Duration, since time.Time) (times []time.Time, samples []broker.HistorySample, err error) {
	err = s.read(ctx, "read samples", func(db *gorm.DB) error {
		var rows []historyRow
		err := db.Where("subject = ? AND bucket = ? AND resolution = ? AND at >= ?", subject, id/bucketIDs, int(step.Seconds()), fromTime(since)).
			Order("at").Find(&rows).Error
		if err != nil {
			return err
		}
		for _, row := range rows {
			all, err := unpack(row.Bucket, row.Samples)
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(all, func(each broker.HistorySample) bool { return each.ID == id }); i >= 0 {
				times, samples = append(times, row.At.time()), append(samples, all[i])
			}
		}
		return nil
	})
	return times, samples, err
}

// ConsolidateHistory goes bucket by bucket, so that it needs little memory.
func (s *session) ConsolidateHistory(ctx context.Context, subject broker.HistorySubject, finer, step time.Duration, at time.Time) error {
	const within = "subject = ? AND resolution = ? AND at >= ? AND at < ?"
	bounds := []any{subject, int(finer.Seconds()), fromTime(at), fromTime(at.Add(step))}
	var buckets []int64
	err := s.read(ctx, "list samples", func(db *gorm.DB) error {
		return db.Model(&historyRow{}).Where(within, bounds...).Distinct().Order("bucket").Pluck("bucket", &buckets).Error
	})
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(buckets, 16) {
		var rows []historyRow
		err := s.read(ctx, "read samples", func(db *gorm.DB) error {
			return db.Where(within+" AND bucket IN ?", append(slices.Clone(bounds), chunk)...).Find(&rows).Error
		})
		if err != nil {
			return err
		}
		joined, err := joinSamples(rows)
		if err != nil {
			return broker.Wrap(err, "consolidate samples")
		}
		if err := s.SaveHistory(ctx, subject, step, at, joined); err != nil {
			return err
		}
	}
	return nil
}

func joinSamples(rows []historyRow) ([]broker.HistorySample, error) {
	type sum struct {
		broker.HistorySample
		count float32
	}
	sums := map[int64]*sum{}
	for _, row := range rows {
		samples, err := unpack(row.Bucket, row.Samples)
		if err != nil {
			return nil, err
		}
		for _, sample := range samples {
			known := sums[sample.ID]
			if known == nil {
				sums[sample.ID] = &sum{sample, 1}
				continue
			}
			known.count++
			for i, from := range measures(&sample) {
				into := measures(&known.HistorySample)[i]
				into.Average += (from.Average - into.Average) / known.count
				into.Max = max(into.Max, from.Max)
			}
			known.MaxCPU, known.MaxMemory, known.MaxDisk = max(known.MaxCPU, sample.MaxCPU), max(known.MaxMemory, sample.MaxMemory), max(known.MaxDisk, sample.MaxDisk)
		}
	}
	joined := make([]broker.HistorySample, 0, len(sums))
	for _, each := range sums {
		joined = append(joined, each.HistorySample)
	}
	return joined, nil
}

func measures(sample *broker.HistorySample) [6]*broker.Measure {
	return [6]*broker.Measure{&sample.CPU, &sample.Memory, &sample.NetIn, &sample.NetOut, &sample.DiskRead, &sample.DiskWrite}
}

func (s *session) DropHistory(ctx context.Context, now time.Time) error {
	for _, series := range broker.HistorySeries() {
		oldest := fromTime(now.Add(-series.Step * (broker.HistorySlots + 1)))
		err := s.recordOne(ctx, "remove old samples", func(db *gorm.DB) error {
			return db.Where("resolution = ? AND at < ?", int(series.Step.Seconds()), oldest).Delete(&historyRow{}).Error
		})
		if err != nil {
			return err
		}
	}
	return s.dropTraffic(ctx, now.AddDate(-trafficYears, 0, 0))
}
