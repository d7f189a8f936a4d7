package admin

import (
	"context"

	"gantry/server/api/ams"
	"gantry/server/api/route"
	"gantry/server/broker"
)

// Catalogue lists images that can be taken over; *catalogue.Source has it.
type Catalogue interface {
	Images(ctx context.Context) []broker.Image
}

func (c *Calls) imageChangeRoutes() []route.Route {
	return []route.Route{
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectOsByOnline", Auth: route.Admin, Name: "selectOsByOnline", Group: "image",
			Summary: "Lists the images of the catalogue: the distributions' official cloud images, or what the setting images.catalogue_url names.",
		}, c.listCatalogue),
		route.Of(route.Route{
			Methods: post, Path: "/{adminPath}/activeOsByOnline", Auth: route.Admin, Name: "activeOsByOnline", Group: "image", Audit: true,
			Summary: "Takes an image of the catalogue into the registry. It is on no node yet: see downloadOs.",
		}, c.activateImage),
		route.Of(route.Route{
			Methods: get, Path: "/{adminPath}/selectOsByPageAndCondition", Auth: route.Admin, Name: "selectOsByPageAndCondition", Group: "image",
			Summary: "Lists images whose field holds a text anywhere, whatever its case; numbers must be equal.",
		}, c.searchImages),
		route.Of(route.Route{
			Methods: putPost, Path: "/{adminPath}/updateOs", Auth: route.Admin, Name: "updateOs", Group: "image", Audit: true,
			Summary: "Changes an image; absent fields stay. File name and folder can't change while a node has it.",
		}, c.updateImage),
		route.Of(route.Route{
			Methods: []string{"DELETE"}, Path: "/{adminPath}/deleteOs", Auth: route.Admin, Name: "deleteOs", Group: "image", Audit: true,
			Summary: "Forgets an image and removes what was downloaded to nodes, by tasks that wait for nodes that are down. Refused while a machine has it or a node downloads it.",
		}, c.deleteImage),
	}
}

// CatalogueImage is an image of the catalogue; "cloud-int" is the documented spelling.
type CatalogueImage struct {
	URL       string          `json:"url"`
	CloudInit int             `json:"cloud-int"`
	NodeData  []CatalogueNode `json:"nodeData" doc:"empty: not taken over yet"`
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Arch      string          `json:"arch"`
	OSType    string          `json:"osType"`
	Checksum  string          `json:"checksum" doc:"sha256:…, sha512:…, or the address of the publisher's checksum file"`
}

// CatalogueNode tells about an image that was taken over.
type CatalogueNode struct {
	Status     int    `json:"status" doc:"0 usable, 1 disabled"`
	OSID       int64  `json:"osId"`
	Size       string `json:"size"`
	Path       string `json:"path"`
	CreateTime int64  `json:"createTime"`
}

// CataloguePage is the page of this one call; its data has one object {file name: image} an image.
type CataloguePage struct {
	Page      int                         `json:"page"`
	Size      int                         `json:"size"`
	Total     int                         `json:"total"`
	TotalPage int                         `json:"totalPage"`
	Data      []map[string]CatalogueImage `json:"data"`
}

func (c *Calls) listCatalogue(ctx context.Context, _ *route.Call, request ams.Paging) (CataloguePage, error) {
	images, page := c.Catalogue.Images(ctx), request.Wanted()
	first := min((page.Number-1)*page.Size, len(images))
	last := min(first+page.Size, len(images))
	reply := CataloguePage{
		Page: page.Number, Size: page.Size, Total: len(images), TotalPage: (len(images) + page.Size - 1) / page.Size,
		Data: make([]map[string]CatalogueImage, 0, last-first),
	}
	reader := ams.NewReader(c.Store)
	for i := range images[first:last] {
		image := &images[first+i]
		record := CatalogueImage{
			URL: image.URL, NodeData: []CatalogueNode{}, Name: image.Name, Type: image.Family, Arch: image.Arch,
			OSType: image.Distribution, Checksum: image.Checksum,
		}
		if image.CloudInit {
			record.CloudInit = 1
		}
		known, err := c.Store.FindImageByName(ctx, image.FileName)
		if err != nil && !broker.Is(err, broker.NotFound) {
			return CataloguePage{}, broker.Wrap(err, "find an image of the catalogue")
		}
		if err == nil && known.FileName == image.FileName {
			taken, err := reader.Image(ctx, known)
			if err != nil {
				return CataloguePage{}, err
			}
			record.NodeData = append(record.NodeData, CatalogueNode{
				Status: taken.Status, OSID: taken.ID, Size: taken.Size, Path: taken.Path, CreateTime: taken.CreateTime,
			})
		}
		reply.Data = append(reply.Data, map[string]CatalogueImage{image.FileName: record})
	}
	return reply, nil
}

// ActivateRequest names an image of the catalogue.
type ActivateRequest struct {
	FileName string `json:"fileName" rule:"required,max=128" doc:"as selectOsByOnline lists it"`
}

func (c *Calls) activateImage(ctx context.Context, _ *route.Call, request ActivateRequest) (string, error) {
	for _, image := range c.Catalogue.Images(ctx) {
		if image.FileName == request.FileName {
			return imageAdded, c.Broker.AddImage(ctx, &image)
		}
	}
	failure := broker.Because(broker.NotFound, broker.ReasonImageNotFound, request.FileName)
	failure.Field = "fileName"
	return "", failure
}

// SearchRequest looks for images.
type SearchRequest struct {
	Param string `json:"param" in:"query" rule:"required,max=32" doc:"name, fileName, type, arch, osType, url, path, id, downType, cloud or status"`
	Value string `json:"value" in:"query" rule:"required,max=200"`
	ams.Paging
}

func (c *Calls) searchImages(ctx context.Context, _ *route.Call, request SearchRequest) (ams.List[*ams.Image], error) {
	page := request.Wanted()
	images, total, err := c.Store.SearchImages(ctx, request.Param, request.Value, page)
	if err != nil {
		return ams.List[*ams.Image]{}, broker.Wrap(err, "search images")
	}
	return c.imageRecords(ctx, images, total, page)
}

// ImageChange changes an image; absent fields stay. The size is observed and is not taken.
type ImageChange struct {
	ID        int64   `json:"id" rule:"required,min=1" doc:"image"`
	Name      *string `json:"name" rule:"max=100"`
	FileName  *string `json:"fileName" rule:"max=128"`
	Type      *string `json:"type" rule:"max=16"`
	Arch      *string `json:"arch" rule:"max=16"`
	OSType    *string `json:"osType" rule:"max=32"`
	DownType  *int    `json:"downType" rule:"min=0,max=1" doc:"can't be changed"`
	URL       *string `json:"url" rule:"max=2000"`
	Checksum  *string `json:"checksum" rule:"max=200"`
	Path      *string `json:"path" rule:"max=200"`
	CloudInit *bool   `json:"cloud"`
	Status    *int    `json:"status" rule:"min=0,max=2" doc:"0 usable, other: disabled"`
}

func (c *Calls) updateImage(ctx context.Context, _ *route.Call, request ImageChange) (string, error) {
	change := broker.ImageChange{
		ID: request.ID, Name: request.Name, FileName: request.FileName, Family: request.Type, Distribution: request.OSType,
		Arch: request.Arch, URL: request.URL, Checksum: request.Checksum, Directory: request.Path, CloudInit: request.CloudInit,
	}
	if request.DownType != nil {
		source := broker.ImageSource(*request.DownType)
		change.Source = &source
	}
	if request.Status != nil {
		disabled := *request.Status != 0
		change.Disabled = &disabled
	}
	return changed, c.Broker.ChangeImage(ctx, change)
}

// ImageRef names an image, in the body as documented or in the query.
type ImageRef struct {
	ID int64 `json:"osId" alias:"id" in:"query" rule:"required,min=1" doc:"image"`
}

func (c *Calls) deleteImage(ctx context.Context, call *route.Call, request ImageRef) (string, error) {
	return deleted, c.Broker.DeleteImage(ctx, request.ID, call.Actor)
}
