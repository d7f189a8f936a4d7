// Package ams holds what the admin's and the billing system's AMS calls have in common: wire types and how they are made from
// the domain. Field names, misspellings and JSON types are those of the AMS documentation (seed 003) and its original.
package ams

import "gantry/server/broker"

// Paging is in the request of every list.
type Paging struct {
	Page int `json:"page" in:"query" rule:"min=1,max=1000000" doc:"page, from 1; default 1"`
	Size int `json:"size" alias:"limit" in:"query" rule:"min=1,max=1000" doc:"items a page; default 20"`
}

const defaultSize = 20

// Wanted fills the defaults in.
func (p Paging) Wanted() broker.Page {
	page := broker.Page{Number: max(p.Page, 1), Size: p.Size}
	if page.Size == 0 {
		page.Size = defaultSize
	}
	return page
}

// List is a page as most calls give it: the original dumps its library's page object whole, and clients read it.
type List[Item any] struct {
	Records          []Item   `json:"records"`
	Total            int64    `json:"total"`
	Size             int      `json:"size"`
	Current          int      `json:"current"`
	Orders           []string `json:"orders"`
	OptimizeCountSQL bool     `json:"optimizeCountSql"`
	SearchCount      bool     `json:"searchCount"`
	MaxLimit         *int     `json:"maxLimit"`
	CountID          *string  `json:"countId"`
	Pages            int64    `json:"pages"`
}

// ListOf makes a List; records are made from items one by one.
func ListOf[Item, Record any](items []Item, total int64, page broker.Page, record func(*Item) Record) List[Record] {
	records := make([]Record, len(items))
	for i := range items {
		records[i] = record(&items[i])
	}
	return List[Record]{
		Records: records, Total: total, Size: page.Size, Current: page.Number, Orders: []string{},
		OptimizeCountSQL: true, SearchCount: true, Pages: pagesOf(total, page.Size),
	}
}

// ShortList is a page as the calls about VMs and consoles give it.
type ShortList[Item any] struct {
	Total   int64  `json:"total"`
	Current int    `json:"current"`
	Pages   int64  `json:"pages"`
	Size    int    `json:"size"`
	Records []Item `json:"records"`
}

// ShortListOf makes a ShortList.
func ShortListOf[Item any](records []Item, total int64, page broker.Page) ShortList[Item] {
	return ShortList[Item]{Total: total, Current: page.Number, Pages: pagesOf(total, page.Size), Size: page.Size, Records: records}
}

func pagesOf(total int64, size int) int64 { return (total + int64(size) - 1) / int64(size) }

// Masked stands for a secret that is there.
const Masked = "**********"

// mask hides a secret and shows whether there is one.
func mask(secret string) string {
	if secret == "" {
		return ""
	}
	return Masked
}
