defmodule Palladion.ConfigErrorTest do
  use ExUnit.Case, async: true

  alias Palladion.ConfigError

  doctest ConfigError

  test "lists all problems with their paths" do
    error = %ConfigError{
      name: MyApp.DB,
      problems: [
        ConfigError.problem([:pool, :sise], :unknown_option, "unknown option"),
        ConfigError.problem([:contact_points, 1], :invalid_contact_point, "two\nlines"),
        ConfigError.problem([], :invalid_value, "must be a keyword list")
      ]
    }

    assert Exception.message(error) == """
           the configuration of MyApp.DB has 3 problems:

             * pool.sise: unknown option
             * contact_points[1]: two
               lines
             * must be a keyword list\
           """
  end

  test "does without a name" do
    problem = ConfigError.problem([:name], :required, "is required")

    assert Exception.message(%ConfigError{problems: [problem]}) ==
             "the configuration has a problem: name: is required"
  end
end
