//! The routes of the RBAC API: the one list that the router, `check` and the OpenAPI document read.

use policy::method::Method;

/// What serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    OpenApi,
    Me,
    Check,
    Who,
    Roles,
    Role,
    PutRole,
    PutParent,
    DeleteParent,
    PutRolePermission,
    DeleteRolePermission,
    Permissions,
    PutPermission,
    Groups,
    Group,
    PutGroup,
    PutGroupRole,
    DeleteGroupRole,
    Admins,
    Admin,
    AdminRoutes,
    AdminView,
    GrantsAudit,
    Grants,
    PostGrant,
    PostTicketGrant,
    Grant,
    DeleteGrant,
    DeleteOwnGrant,
    PutGroupGrantor,
    DeleteGroupGrantor,
    PutRoleGrantor,
    DeleteRoleGrantor,
    Requests,
    PostRequest,
    Request,
    ApproveRequest,
    DenyRequest,
    WithdrawRequest,
    GlassSessions,
    GlassPage,
    GlassOpens,
    GlassChallenge,
    StartGlass,
    GlassSession,
    EndGlass,
    GlassRequests,
    ReviewGlass,
    Passkeys,
    PasskeyChallenge,
    PostPasskey,
    Fleet,
    Clusters,
    Cluster,
    TurnCluster,
    Mapping,
    MappingHistory,
    MappingDiff,
    MappingText,
    CompareMapping,
    Timeline,
    TimelineEvent,
    Audit,
    AuditState,
    AuditRow,
    Reviews,
    Review,
    ReviewItem,
    DecideItem,
    CloseReview,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: Method,
    /// With `{name}` for each variable.
    pub template: &'static str,
    /// A path of that form.
    pub example: &'static str,
    pub endpoint: Endpoint,
}

const fn route(method: Method, template: &'static str, example: &'static str, endpoint: Endpoint) -> Route {
    Route { method, template, example, endpoint }
}

/// Every route. Of two that fit a path, the first serves it.
pub const ROUTES: [Route; 70] = [
    route(Method::Get, "/api/rbac/openapi.json", "/api/rbac/openapi.json", Endpoint::OpenApi),
    route(Method::Get, "/api/rbac/me", "/api/rbac/me", Endpoint::Me),
    route(Method::Get, "/api/rbac/permissions/check", "/api/rbac/permissions/check", Endpoint::Check),
    route(Method::Get, "/api/rbac/who", "/api/rbac/who", Endpoint::Who),
    route(Method::Get, "/api/rbac/roles", "/api/rbac/roles", Endpoint::Roles),
    route(Method::Get, "/api/rbac/roles/{name}", "/api/rbac/roles/r", Endpoint::Role),
    route(Method::Put, "/api/rbac/roles/{name}", "/api/rbac/roles/r", Endpoint::PutRole),
    route(
        Method::Put,
        "/api/rbac/roles/{name}/inherits/{parent}",
        "/api/rbac/roles/r/inherits/s",
        Endpoint::PutParent,
    ),
    route(
        Method::Delete,
        "/api/rbac/roles/{name}/inherits/{parent}",
        "/api/rbac/roles/r/inherits/s",
        Endpoint::DeleteParent,
    ),
    route(
        Method::Put,
        "/api/rbac/roles/{name}/permissions/{permission}",
        "/api/rbac/roles/r/permissions/p",
        Endpoint::PutRolePermission,
    ),
    route(
        Method::Delete,
        "/api/rbac/roles/{name}/permissions/{permission}",
        "/api/rbac/roles/r/permissions/p",
        Endpoint::DeleteRolePermission,
    ),
    route(Method::Get, "/api/rbac/permissions", "/api/rbac/permissions", Endpoint::Permissions),
    route(Method::Put, "/api/rbac/permissions/{name}", "/api/rbac/permissions/p", Endpoint::PutPermission),
    route(Method::Get, "/api/rbac/groups", "/api/rbac/groups", Endpoint::Groups),
    route(Method::Get, "/api/rbac/groups/{name}", "/api/rbac/groups/g", Endpoint::Group),
    route(Method::Put, "/api/rbac/groups/{name}", "/api/rbac/groups/g", Endpoint::PutGroup),
    route(
        Method::Put,
        "/api/rbac/groups/{name}/roles/{role}",
        "/api/rbac/groups/g/roles/r",
        Endpoint::PutGroupRole,
    ),
    route(
        Method::Delete,
        "/api/rbac/groups/{name}/roles/{role}",
        "/api/rbac/groups/g/roles/r",
        Endpoint::DeleteGroupRole,
    ),
    route(
        Method::Put,
        "/api/rbac/groups/{name}/grantors/{by}",
        "/api/rbac/groups/g/grantors/h",
        Endpoint::PutGroupGrantor,
    ),
    route(
        Method::Delete,
        "/api/rbac/groups/{name}/grantors/{by}",
        "/api/rbac/groups/g/grantors/h",
        Endpoint::DeleteGroupGrantor,
    ),
    route(
        Method::Put,
        "/api/rbac/roles/{name}/grantors/{by}",
        "/api/rbac/roles/r/grantors/h",
        Endpoint::PutRoleGrantor,
    ),
    route(
        Method::Delete,
        "/api/rbac/roles/{name}/grantors/{by}",
        "/api/rbac/roles/r/grantors/h",
        Endpoint::DeleteRoleGrantor,
    ),
    route(Method::Get, "/api/rbac/admins", "/api/rbac/admins", Endpoint::Admins),
    route(Method::Get, "/api/rbac/admins/{id}", "/api/rbac/admins/a", Endpoint::Admin),
    route(Method::Get, "/api/rbac/admins/{id}/routes", "/api/rbac/admins/a/routes", Endpoint::AdminRoutes),
    route(Method::Get, "/api/rbac/admins/{id}/view", "/api/rbac/admins/a/view", Endpoint::AdminView),
    route(Method::Get, "/api/rbac/grants/audit", "/api/rbac/grants/audit", Endpoint::GrantsAudit),
    route(Method::Get, "/api/rbac/grants", "/api/rbac/grants", Endpoint::Grants),
    route(Method::Post, "/api/rbac/grants", "/api/rbac/grants", Endpoint::PostGrant),
    route(
        Method::Post,
        "/api/rbac/grants/ticket-scoped",
        "/api/rbac/grants/ticket-scoped",
        Endpoint::PostTicketGrant,
    ),
    route(Method::Get, "/api/rbac/grants/{id}", "/api/rbac/grants/direct.YQ.Zw", Endpoint::Grant),
    route(Method::Delete, "/api/rbac/grants/{id}", "/api/rbac/grants/direct.YQ.Zw", Endpoint::DeleteGrant),
    route(
        Method::Delete,
        "/api/rbac/me/grants/{id}",
        "/api/rbac/me/grants/6f9619ff-8b86-4011-b42d-00cf4fc964ff",
        Endpoint::DeleteOwnGrant,
    ),
    route(Method::Get, "/api/rbac/requests", "/api/rbac/requests", Endpoint::Requests),
    route(Method::Post, "/api/rbac/requests", "/api/rbac/requests", Endpoint::PostRequest),
    route(Method::Get, "/api/rbac/requests/{id}", "/api/rbac/requests/x", Endpoint::Request),
    route(
        Method::Post,
        "/api/rbac/requests/{id}/approve",
        "/api/rbac/requests/x/approve",
        Endpoint::ApproveRequest,
    ),
    route(Method::Post, "/api/rbac/requests/{id}/deny", "/api/rbac/requests/x/deny", Endpoint::DenyRequest),
    route(
        Method::Post,
        "/api/rbac/requests/{id}/withdraw",
        "/api/rbac/requests/x/withdraw",
        Endpoint::WithdrawRequest,
    ),
    route(Method::Get, "/api/rbac/break-glass", "/api/rbac/break-glass", Endpoint::GlassSessions),
    route(Method::Get, "/api/rbac/break-glass/page", "/api/rbac/break-glass/page", Endpoint::GlassPage),
    route(Method::Get, "/api/rbac/break-glass/opens", "/api/rbac/break-glass/opens", Endpoint::GlassOpens),
    route(
        Method::Post,
        "/api/rbac/break-glass/challenge",
        "/api/rbac/break-glass/challenge",
        Endpoint::GlassChallenge,
    ),
    route(Method::Post, "/api/rbac/break-glass", "/api/rbac/break-glass", Endpoint::StartGlass),
    route(Method::Get, "/api/rbac/break-glass/{id}", "/api/rbac/break-glass/x", Endpoint::GlassSession),
    route(Method::Delete, "/api/rbac/break-glass/{id}", "/api/rbac/break-glass/x", Endpoint::EndGlass),
    route(
        Method::Get,
        "/api/rbac/break-glass/{id}/requests",
        "/api/rbac/break-glass/x/requests",
        Endpoint::GlassRequests,
    ),
    route(
        Method::Post,
        "/api/rbac/break-glass/{id}/review",
        "/api/rbac/break-glass/x/review",
        Endpoint::ReviewGlass,
    ),
    route(Method::Get, "/api/rbac/passkeys", "/api/rbac/passkeys", Endpoint::Passkeys),
    route(
        Method::Post,
        "/api/rbac/passkeys/challenge",
        "/api/rbac/passkeys/challenge",
        Endpoint::PasskeyChallenge,
    ),
    route(Method::Post, "/api/rbac/passkeys", "/api/rbac/passkeys", Endpoint::PostPasskey),
    route(Method::Get, "/api/rbac/fleet", "/api/rbac/fleet", Endpoint::Fleet),
    route(Method::Get, "/api/rbac/clusters", "/api/rbac/clusters", Endpoint::Clusters),
    route(Method::Get, "/api/rbac/clusters/{name}", "/api/rbac/clusters/c", Endpoint::Cluster),
    route(Method::Post, "/api/rbac/clusters/{name}/mode", "/api/rbac/clusters/c/mode", Endpoint::TurnCluster),
    route(Method::Get, "/api/rbac/mapping", "/api/rbac/mapping", Endpoint::Mapping),
    route(Method::Get, "/api/rbac/mapping/history", "/api/rbac/mapping/history", Endpoint::MappingHistory),
    route(Method::Get, "/api/rbac/mapping/diff", "/api/rbac/mapping/diff", Endpoint::MappingDiff),
    route(Method::Post, "/api/rbac/mapping/compare", "/api/rbac/mapping/compare", Endpoint::CompareMapping),
    route(Method::Get, "/api/rbac/mapping/{sha256}", "/api/rbac/mapping/0a1b2c3d", Endpoint::MappingText),
    route(Method::Get, "/api/rbac/timeline", "/api/rbac/timeline", Endpoint::Timeline),
    route(Method::Get, "/api/rbac/timeline/{id}", "/api/rbac/timeline/x", Endpoint::TimelineEvent),
    route(Method::Get, "/api/rbac/audit", "/api/rbac/audit", Endpoint::Audit),
    route(Method::Get, "/api/rbac/audit/state", "/api/rbac/audit/state", Endpoint::AuditState),
    route(Method::Get, "/api/rbac/audit/{id}", "/api/rbac/audit/x", Endpoint::AuditRow),
    route(Method::Get, "/api/rbac/reviews", "/api/rbac/reviews", Endpoint::Reviews),
    route(Method::Get, "/api/rbac/reviews/{id}", "/api/rbac/reviews/x", Endpoint::Review),
    route(
        Method::Get,
        "/api/rbac/reviews/{id}/items/{item}",
        "/api/rbac/reviews/x/items/y",
        Endpoint::ReviewItem,
    ),
    route(
        Method::Post,
        "/api/rbac/reviews/{id}/items/{item}",
        "/api/rbac/reviews/x/items/y",
        Endpoint::DecideItem,
    ),
    route(Method::Post, "/api/rbac/reviews/{id}/close", "/api/rbac/reviews/x/close", Endpoint::CloseReview),
];

impl Endpoint {
    /// Whether it changes who holds what, or what groups and roles bring: whoever passes its row holds the right to write.
    pub fn changes_access(self) -> bool {
        matches!(
            self,
            Endpoint::PutRole
                | Endpoint::PutParent
                | Endpoint::DeleteParent
                | Endpoint::PutRolePermission
                | Endpoint::DeleteRolePermission
                | Endpoint::PutPermission
                | Endpoint::PutGroup
                | Endpoint::PutGroupRole
                | Endpoint::DeleteGroupRole
                | Endpoint::PutGroupGrantor
                | Endpoint::DeleteGroupGrantor
                | Endpoint::PutRoleGrantor
                | Endpoint::DeleteRoleGrantor
                | Endpoint::PostGrant
                | Endpoint::PostTicketGrant
                | Endpoint::DeleteGrant
        )
    }

    /// Whether it is there only while FLAG_RBAC_V2 is on (migration plan, phase 1): grants, break-glass, and every write.
    pub fn needs_v2(self) -> bool {
        let is_about_grants = matches!(self, Endpoint::GrantsAudit | Endpoint::Grants | Endpoint::Grant);
        let is_about_glass = matches!(
            self,
            Endpoint::GlassSessions
                | Endpoint::GlassPage
                | Endpoint::GlassOpens
                | Endpoint::GlassSession
                | Endpoint::GlassRequests
                | Endpoint::Passkeys
        );
        is_about_grants
            || is_about_glass
            || ROUTES.iter().any(|route| route.endpoint == self && !route.method.is_safe())
    }
}

/// A method and a path of each route, for those who look whether a row leads to one.
pub fn examples() -> Vec<(Method, &'static str)> {
    ROUTES.iter().map(|route| (route.method, route.example)).collect()
}

/// What a path and a method meet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met<'p> {
    /// With the values of its variables, in order.
    Route(Endpoint, Vec<&'p str>),
    /// There are routes for the path: these methods.
    WrongMethod(Vec<Method>),
    Nothing,
}

/// The route for a decoded path. HEAD goes with GET.
pub(super) fn find(method: Method, path: &str) -> Met<'_> {
    let method = if method == Method::Head { Method::Get } else { method };
    let fitting = ROUTES.iter().filter_map(|route| Some((route, values(route.template, path)?)));
    let mut fitting: Vec<(&Route, Vec<&str>)> = fitting.collect();
    match fitting.iter().position(|(route, _)| route.method == method) {
        Some(place) => {
            let (route, values) = fitting.swap_remove(place);
            Met::Route(route.endpoint, values)
        }
        None if fitting.is_empty() => Met::Nothing,
        None => {
            let mut methods: Vec<Method> = fitting.iter().map(|(route, _)| route.method).collect();
            if methods.contains(&Method::Get) {
                methods.push(Method::Head);
            }
            methods.push(Method::Options);
            methods.sort();
            methods.dedup();
            Met::WrongMethod(methods)
        }
    }
}

fn values<'p>(template: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut parts, mut given) = (template.split('/'), path.split('/'));
    let mut values = Vec::new();
    loop {
        match (parts.next(), given.next()) {
            (None, None) => return Some(values),
            (Some(part), Some(value)) if part.starts_with('{') && !value.is_empty() => values.push(value),
            (Some(part), Some(value)) if part == value => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_found_by_its_example_and_no_other_is() {
        for route in &ROUTES {
            match find(route.method, route.example) {
                Met::Route(endpoint, values) => {
                    assert_eq!(endpoint, route.endpoint, "{}", route.template);
                    assert_eq!(values.len(), route.template.matches('{').count());
                }
                other => panic!("{}: {other:?}", route.template),
            }
        }
    }

    #[test]
    fn what_is_no_route_is_none() {
        for path in
            ["/", "/api/rbac", "/api/rbac/", "/api/rbac/me/", "/api/rbac/groups/", "/api/rbac/groups/g/roles"]
        {
            assert_eq!(find(Method::Get, path), Met::Nothing, "{path}");
        }
        let methods = vec![Method::Get, Method::Head, Method::Delete, Method::Options];
        assert_eq!(find(Method::Put, "/api/rbac/grants/x"), Met::WrongMethod(methods));
        assert_eq!(find(Method::Head, "/api/rbac/me"), Met::Route(Endpoint::Me, Vec::new()));
    }

    #[test]
    fn grants_and_writes_are_there_only_with_the_flag() {
        let open: Vec<Endpoint> =
            ROUTES.iter().map(|route| route.endpoint).filter(|endpoint| !endpoint.needs_v2()).collect();
        assert!(ROUTES.iter().all(|route| {
            let of_v2 = ["/api/rbac/grants", "/api/rbac/break-glass", "/api/rbac/passkeys"];
            let is_of_v2 = of_v2.into_iter().any(|start| route.template.starts_with(start));
            let is_open = route.method == Method::Get && !is_of_v2;
            open.contains(&route.endpoint) == is_open
        }));
    }
}
