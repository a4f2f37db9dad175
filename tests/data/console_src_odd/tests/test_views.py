@require_role("superadmin")
def test_nothing_of_a_folder_of_tests_is_read():
    pass
