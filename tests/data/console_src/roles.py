EVERYBODY = ("superadmin", "ops", "support", "readonly")
OPS_AND_UP = ("ops", "superadmin")


class Roles:
    SUPERADMIN = "superadmin"
