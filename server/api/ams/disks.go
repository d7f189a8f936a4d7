package ams

import (
	"sort"
	"strconv"
	"strings"

	"gantry/server/api/route"
	"gantry/server/broker"
)

// maxEntries bounds the maps dataDisk and ipConfig.
const maxEntries = 64

// DataDisks reads the map dataDisk in all forms that the original takes: {"1": 40}, {"1": "40"}, {"scsi2": "local:40"},
// {"1": {"size": 40, "storage": "local"}}. Entries of an object form with "enable": false are left out.
type DataDisks []broker.DataDisk

// ReadField implements route.Reader.
func (d *DataDisks) ReadField(field string, value any) error {
	entries, err := route.ReadMap(field, value)
	if err != nil {
		return err
	}
	if len(entries) > maxEntries {
		return route.Unacceptable(field, "has too many entries", "条目过多")
	}
	for key, entry := range entries {
		disk, wanted, err := readDisk(field, key, entry)
		if err != nil {
			return err
		}
		if wanted {
			*d = append(*d, disk)
		}
	}
	sort.Slice(*d, func(i, j int) bool { return (*d)[i].Number < (*d)[j].Number })
	return nil
}

// Schema implements route.Documented.
func (DataDisks) Schema() map[string]any {
	return map[string]any{
		"type": []string{"object", "null"}, "example": map[string]any{"1": 40},
		"additionalProperties": map[string]any{"type": []string{"integer", "string", "object"}},
	}
}

func readDisk(field, key string, entry any) (disk broker.DataDisk, wanted bool, err error) {
	number, err := entryNumber(field, strings.TrimPrefix(strings.TrimSpace(key), "scsi"))
	if err != nil {
		return disk, false, err
	}
	name := field + "." + strconv.Itoa(number)
	disk.Number = number
	var size any = entry
	switch known := entry.(type) {
	case nil:
		return disk, false, nil
	case map[string]any:
		return readDiskObject(name, disk, known)
	case string:
		if strings.TrimSpace(known) == "" {
			return disk, false, nil
		}
		if storage, rest, found := strings.Cut(known, ":"); found {
			disk.Storage, size = strings.TrimSpace(storage), rest
			if disk.Storage == "" {
				return disk, false, route.Unacceptable(name, "names no storage before the colon", "冒号前缺少存储名称")
			}
		}
	}
	disk.SizeGB, err = readSize(name, size)
	return disk, true, err
}

func readDiskObject(name string, disk broker.DataDisk, entry map[string]any) (broker.DataDisk, bool, error) {
	if value, found := firstOf(entry, "enable"); found {
		enabled, err := route.ReadBool(name+".enable", value)
		if err != nil || !enabled {
			return disk, false, err
		}
	}
	if value, found := firstOf(entry, "storage", "pool"); found {
		storage, err := route.ReadText(name+".storage", value)
		if err != nil {
			return disk, false, err
		}
		disk.Storage = storage
	}
	value, found := firstOf(entry, "size", "diskSize", "capacity")
	if !found {
		return disk, false, route.Unacceptable(name+".size", "is required", "不能为空")
	}
	var err error
	disk.SizeGB, err = readSize(name+".size", value)
	return disk, true, err
}

// readSize takes GB, with or without a "G" behind.
func readSize(name string, value any) (int, error) {
	if text, isText := value.(string); isText {
		text = strings.ToUpper(strings.TrimSpace(text))
		value = strings.TrimSuffix(strings.TrimSuffix(text, "B"), "G")
	}
	size, err := route.ReadNumber(name, value)
	if err != nil {
		return 0, err
	}
	if size < 1 || size > 1<<20 {
		return 0, route.Unacceptable(name, "must be a size between 1 and 1048576 GB", "必须是 1 到 1048576 之间的大小（GB）")
	}
	return int(size), nil
}

func firstOf(entry map[string]any, names ...string) (any, bool) {
	for _, name := range names {
		if value, found := entry[name]; found && value != nil && value != "" {
			return value, true
		}
	}
	return nil, false
}

// entryNumber reads the key of an entry: "1", "2", …
func entryNumber(field, key string) (int, error) {
	number, err := strconv.Atoi(key)
	if err != nil || number < 0 || number > 1000 || (len(key) > 1 && key[0] == '0') {
		return 0, route.Unacceptable(field, "has the key "+strconv.Quote(short(key))+": keys are 1, 2, …", "的键必须是 1、2、…")
	}
	return number, nil
}

func short(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}

// diskMap is dataDisk in replies: the size where the disk is on the system disk's storage, else "storage:size"; nil without any.
func diskMap(disks []broker.DataDisk, storage string) map[string]any {
	if len(disks) == 0 {
		return nil
	}
	result := make(map[string]any, len(disks))
	for _, disk := range disks {
		key := strconv.Itoa(disk.Number)
		result[key] = disk.SizeGB
		if disk.Storage != "" && disk.Storage != storage {
			result[key] = disk.Storage + ":" + strconv.Itoa(disk.SizeGB)
		}
	}
	return result
}
