defmodule Palladion.Config.CredentialsFileTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.Config.CredentialsFile

  setup :tmp_dir

  defp refused(result) do
    assert {:error, reason, message} = result
    refute message =~ "hunter2"
    reason
  end

  test "a text is all but the line break at the end", %{tmp_dir: dir} do
    for {content, text} <- [
          {"hunter2", "hunter2"},
          {"hunter2\n", "hunter2"},
          {"hunter2\r\n", "hunter2"},
          {" hünter 2 \n", " hünter 2 "}
        ] do
      path = write!(dir, "file", content)
      assert CredentialsFile.text(path) == {:ok, text}
      assert CredentialsFile.text(String.to_charlist(path)) == {:ok, text}
    end
  end

  test "what can't be a text is told by the file's name", %{tmp_dir: dir} do
    for {content, reason} <- [
          {"", :empty},
          {"\n", :empty},
          {"hunter2\n\n", :malformed},
          {"\nhunter2", :malformed},
          {"hunter2\0", :invalid_value},
          {"hunter2\xFF", :invalid_value},
          {:binary.copy("hunter2", 9_363), :unreadable}
        ] do
      path = write!(dir, "file", content)
      assert refused(CredentialsFile.text(path)) == reason
      assert {:error, _reason, message} = CredentialsFile.text(path)
      assert message =~ path
    end

    assert refused(CredentialsFile.text(dir)) == :unreadable
    assert refused(CredentialsFile.text(Path.join(dir, "none"))) == :unreadable

    for bad <- [nil, "", 17, :hunter2],
        do: assert(refused(CredentialsFile.text(bad)) == :invalid_value)
  end

  test "a login is two lines, whatever is around them", %{tmp_dir: dir} do
    for content <- [
          "username=app\npassword=hunter2",
          "[PlainTextAuthProvider]\r\nusername = app\r\npassword = hunter2\r\n",
          "; old\n# password = 1\n\nPassword : hunter2\nUsername: app  \nkeyspace = x\n"
        ] do
      path = write!(dir, "file", content)
      assert CredentialsFile.login(path) == {:ok, %{"username" => "app", "password" => "hunter2"}}
    end

    path =
      write!(dir, "file", "username = app\npassword = a=b:c # \nauthorization_id = reports\n")

    assert CredentialsFile.login(path) ==
             {:ok,
              %{"username" => "app", "password" => "a=b:c #", "authorization_id" => "reports"}}
  end

  test "the mark that some editors put at the beginning is ignored", %{tmp_dir: dir} do
    path = write!(dir, "file", "\uFEFFusername = app\npassword = hunter2\n")
    assert CredentialsFile.login(path) == {:ok, %{"username" => "app", "password" => "hunter2"}}
    assert CredentialsFile.text(write!(dir, "text", "\uFEFFhunter2\n")) == {:ok, "hunter2"}
  end

  test "half a login, or one and a half, is none", %{tmp_dir: dir} do
    for {content, reason, text} <- [
          {"", :required, "no username and no password"},
          {"username = app", :required, "no password"},
          {"username =\npassword = hunter2", :required, "no username"},
          {"username = app\npassword = hunter2\n[b]\npassword = hunter2", :malformed,
           "more than one password"},
          {"username = app\npassword = hunter2\0", :invalid_value, "zero byte"}
        ] do
      path = write!(dir, "file", content)
      assert refused(CredentialsFile.login(path)) == reason
      assert {:error, _reason, message} = CredentialsFile.login(path)
      assert message =~ text
    end
  end
end
