// What stands between the marks is the guide's, as printed; README.md says what was added around it.
import { Controller, Get, Param } from '@nestjs/common';
import { UserService } from './user.service.js';

// >>> the guide: NestJS (Enterprise)
@Controller('users')
export class UserController {
  constructor(private userService: UserService) {}

  @Get(':id')
  async getUser(@Param('id') id: string) {
    return this.userService.findById(id);
  }
}
// <<<
