defmodule Palladion.Config.AuthTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Auth
  alias Palladion.Secret

  @login [username: "app", password: "hunter2"]

  defp problems(options, plaintext? \\ false) do
    {_auth, problems} = Auth.parse(options, plaintext?)
    refute inspect(problems) =~ "hunter2"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  test "is off without options" do
    assert Auth.parse(nil, false) == {nil, []}
  end

  test "wraps the password" do
    assert {auth, []} = Auth.parse(@login, false)
    assert %Auth{username: "app", password: %Secret{}, require_auth: true} = auth
    assert auth.allowed_authenticators == []
    refute inspect(auth, structs: false) =~ "hunter2"
  end

  test "takes the password as a secret, a charlist or a function" do
    secret = Secret.wrap("hunter2")
    assert {%{password: ^secret}, []} = Auth.parse([username: "app", password: secret], false)

    for password <- [~c"hunter2", fn -> "hunter2" end, fn -> ~c"hunter2" end, fn -> secret end] do
      assert {%{password: %Secret{}}, []} =
               Auth.parse([username: "app", password: password], false)
    end
  end

  test "wants both or neither" do
    assert problems([]) == [{[:auth], :required}]
    assert problems(username: nil, password: nil) == [{[:auth], :required}]
    assert problems(username: "app") == [{[:auth, :password], :required}]
    assert problems(username: "app", password: nil) == [{[:auth, :password], :required}]
    assert problems(password: "hunter2") == [{[:auth, :username], :required}]
  end

  test "one mistake is one problem" do
    assert problems(username: :app, password: "hunter2") == [{[:auth, :username], :invalid_value}]
    assert problems(username: "app", password: "") == [{[:auth, :password], :empty}]
    assert problems(username: "app", password: 17) == [{[:auth, :password], :invalid_value}]

    assert problems(username: "a\0b", password: "hunter2") ==
             [{[:auth, :username], :invalid_value}]

    assert problems(username: "app", password: "hunter2\0") ==
             [{[:auth, :password], :invalid_value}]
  end

  test "a password function that fails says how, and no more" do
    for {function, text} <- [
          {fn -> raise "hunter2" end, "raised RuntimeError"},
          {fn -> throw("hunter2") end, "ended with throw"},
          {fn -> exit("hunter2") end, "ended with exit"}
        ] do
      assert {_, [problem]} = Auth.parse([username: "app", password: function], false)
      assert %{path: [:auth, :password], reason: :function_failed} = problem
      assert problem.message =~ text
      refute problem.message =~ "hunter2"
    end

    assert problems(username: "app", password: fn -> nil end) ==
             [{[:auth, :password], :invalid_value}]

    assert problems(username: "app", password: fn -> fn -> "hunter2" end end) ==
             [{[:auth, :password], :invalid_value}]
  end

  test "a password without TLS needs the user's word" do
    assert problems(@login, true) == [{[:auth, :allow_plaintext_password], :plaintext_password}]
    assert problems([allow_plaintext_password: true] ++ @login, true) == []
    assert problems([allow_plaintext_password: true] ++ @login, false) == []
  end

  test "class names are strings" do
    assert {%{allowed_authenticators: ["com.example.A"]}, []} =
             Auth.parse([allowed_authenticators: ["com.example.A"]] ++ @login, false)

    for bad <- ["com.example.A", [:a], [""], ["a" | "b"], nil] do
      assert problems([allowed_authenticators: bad] ++ @login) ==
               [{[:auth, :allowed_authenticators], :invalid_value}]
    end
  end

  test "what is no keyword list is not shown" do
    for bad <- ["hunter2", true, {"app", "hunter2"}, %{password: "hunter2"}, ["hunter2"]] do
      assert problems(bad) == [{[:auth], :invalid_value}]
    end
  end
end
