"""``tutor serve``: the tutor as one web page for a class.

`logins` knows who may enter, `desk` answers questions in threads of its own,
`rules` is what holds for every request, `student` and `instructor` are the two
sides of the application that `application.build` puts together.
"""
