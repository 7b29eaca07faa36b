package gateway

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"unistore/faults"
)

// readyz answers 200 or 503. The reasons are for those who have the token.
func (a *admin) readyz(c *fiber.Ctx) error {
	reasons := a.state.notReady(c.UserContext())
	answer := fiber.Map{"ready": len(reasons) == 0}
	if len(reasons) > 0 {
		c.Status(http.StatusServiceUnavailable)
		if a.allowed(c) {
			answer["reasons"] = reasons
		}
	}
	return c.JSON(answer)
}

// operator is the caller of the admin listener: the token gives every right.
var operator = identity{buckets: []string{"*"}, operator: true}

// control answers the calls of the control API.
func (a *admin) control(c *fiber.Ctx) error {
	path := strings.TrimPrefix(string(c.Request().URI().PathOriginal()), controlRoot)
	if isFaults := path == "faults" || strings.HasPrefix(path, "faults/"); isFaults && a.cfg.Faults != nil {
		return fiber.ErrMethodNotAllowed // the right ones have routes of their own
	}
	api := control{state: a.state, queries: a.cfg.Queries}
	answer, err := api.do(c.UserContext(), controlRequest{
		method: c.Method(), path: path, query: string(c.Request().URI().QueryString()), body: c.Body(), who: operator,
	})
	if err == nil {
		status, value := statusOf(answer)
		return c.Status(status).JSON(value)
	}
	return a.answerError(c, err)
}

func (a *admin) answerError(c *fiber.Ctx, err error) error {
	e := controlFailure(err)
	if e.allow != "" {
		c.Set("Allow", e.allow)
	}
	return c.Status(e.status).JSON(e.document())
}

// faultRoutes are there only with --enable-faults; without, they are unknown calls.
func (a *admin) faultRoutes(api fiber.Router) {
	set := a.cfg.Faults
	if set == nil {
		return
	}
	api.Get("/faults", func(c *fiber.Ctx) error {
		list := set.List()
		if list == nil {
			list = []faults.Status{}
		}
		return c.JSON(fiber.Map{"faults": list, "names": faults.Names()})
	})
	api.Put("/faults/:name", a.putFault)
	api.Delete("/faults/:name", func(c *fiber.Ctx) error {
		if !set.Remove(c.Params("name")) {
			return fiber.NewError(http.StatusNotFound, "no fault of this name is active")
		}
		return c.SendStatus(http.StatusNoContent)
	})
	api.Delete("/faults", func(c *fiber.Ctx) error {
		set.Clear()
		return c.SendStatus(http.StatusNoContent)
	})
}

// putFault makes a fault active. The body is a JSON object with the parameters, or empty.
func (a *admin) putFault(c *fiber.Ctx) error {
	params := map[string]json.RawMessage{}
	if body := c.Body(); len(body) > 0 {
		if err := json.Unmarshal(body, &params); err != nil {
			return fiber.NewError(http.StatusBadRequest, "the body must be a JSON object with the fault's parameters")
		}
	}
	name, err := json.Marshal(c.Params("name"))
	if err != nil {
		return err
	}
	if given, ok := params["name"]; ok && string(given) != string(name) {
		return fiber.NewError(http.StatusBadRequest, "the name in the body is not the one in the path")
	}
	params["name"] = name
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	var fault faults.Fault
	if err := json.Unmarshal(text, &fault); err != nil {
		return fiber.NewError(http.StatusBadRequest, err.Error())
	}
	if err := a.cfg.Faults.Put(fault); err != nil {
		return fiber.NewError(http.StatusBadRequest, err.Error())
	}
	a.cfg.Log.Warn().Str("fault", fault.Name).Msg("fault set")
	return c.JSON(fault)
}
